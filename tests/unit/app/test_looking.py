"""What several drivers see, as one; and who states an identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.app.looking import merged
from dr.config.plugins import plugins
from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Purpose, Request, Resource
from dr.domain.refs import Ref
from tests.integration.meters import context

SEEN = Facts(1.0, "123456789012", "eu-central-1", extra={"a": 1})


def test_what_none_but_one_observed_is_what_was_observed() -> None:
    other = Facts(2.0, "", "", (Resource(Ref("p", "instance", "db"), "available"),), extra={"b": 2})
    whole = merged([other, SEEN, other])
    assert (whole.at, whole.account, whole.region) == (2.0, "123456789012", "eu-central-1")
    assert (len(whole.resources), whole.extra) == (2, {"a": 1, "b": 2})
    assert (merged([other]).account, merged([other]).region) == ("", "")


@pytest.mark.parametrize(("account", "region"), [("999999999999", "eu-central-1"), ("123456789012", "us-east-1")])
def test_two_identities_that_differ_are_refused(account: str, region: str) -> None:
    with pytest.raises(RefusedError, match="are not of one"):
        merged([SEEN, Facts(2.0, account, region)])


def test_a_driver_that_observes_no_account_states_none(tmp_path: Path) -> None:
    others = {name: one for name, one in plugins().items() if name != "rds"}
    assert len(others) == 6
    for name, plugin in others.items():
        seen = plugin.make(context(tmp_path)).look(Request("lab", (), Purpose.DRILL))
        assert (seen.account, seen.region) == ("", ""), name
