"""An argument that nobody reads is refused when its verb is planned, whatever the verb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.errors import UsageError
from dr.domain.model import Facts, Purpose, RunIdentity, Verb
from dr.wiring import PROPOSED_BY, drivers, proposers
from tests.integration.meters import context

RUN = RunIdentity("20250101T000000-rds-pitr-ab12", "lab", Purpose.DRILL, "")
FACTS = Facts(0.0, "000000000000", "eu-central-1")


@pytest.mark.parametrize("verb", sorted(PROPOSED_BY))
def test_an_argument_that_a_verb_does_not_know_is_refused_by_name(tmp_path: Path, verb: str) -> None:
    driver = proposers(drivers(context(tmp_path), [verb]))[verb]
    with pytest.raises(UsageError, match=f"{verb} knows no argument typo"):
        driver.propose(Verb(verb, {"typo": 1} | ({"kind": "disk-full"} if verb == "remedy" else {})), FACTS, RUN)
