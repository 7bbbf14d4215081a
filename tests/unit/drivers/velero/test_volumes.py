"""What is told of claims, by the cluster and by the target's command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from dr.drivers.kubernetes.cluster import Cluster
from dr.drivers.velero import volumes
from dr.lab.cluster.nodes.disk import digest_of
from tests.targets import target_of

CORE = "/api/v1/namespaces/a"
POD = {"metadata": {"name": "p"}, "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}}


class Listing:
    """A cluster with one claim, which a pod uses."""

    def __init__(self, phase: str) -> None:
        one = {"metadata": {"name": "data"}, "spec": {"volumeName": "disk"}, "status": {"phase": phase}}
        self._found: dict[str, list[Any]] = {f"{CORE}/pods": [POD], f"{CORE}/persistentvolumeclaims": [one]}

    def items(self, path: str) -> list[Any]:
        return self._found[path]


def seen(*command: str, phase: str = "Bound") -> dict[str, Any]:
    target = target_of(faults=command)
    found = volumes.observed(cast("Cluster", Listing(phase)), target, ["a"])["claims"]["a/data"]
    assert found.pop("used") is True
    return dict(found)


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, sys; {text}")


@pytest.mark.parametrize(
    ("command", "phase", "expected"),
    [
        (script('print(json.dumps({"digest": " ".join(sys.argv[1:])}))'), "Bound", None),
        (script("print('{}')"), "Bound", "the target's command does not tell"),
        (script("sys.exit('no such fault')"), "Bound", "The fault volume_digest failed: no such fault"),
        ((), "Bound", "the target has no command that reads it"),
        (script("print('{}')"), "Pending", "it is not bound"),
    ],
    ids=["told", "not told", "not known", "no command", "not bound"],
)
def test_a_digest_is_what_the_targets_command_tells_of_a_claim_that_is_bound(
    command: tuple[str, ...], phase: str, expected: str | None
) -> None:
    found = seen(*command, phase=phase)
    if expected is None:
        asked = 'volume_digest {"namespace": "a", "claim": "data", "volume": "disk"}'
        assert found == {"phase": "Bound", "digest": asked, "because": ""}
    else:
        assert found == {"phase": phase, "digest": None, "because": expected}


def test_a_digest_is_of_the_names_and_contents_of_all_files(tmp_path: Path) -> None:
    def laid(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_text(text)
        return digest_of(tmp_path)

    one = laid(a="1", b="2")
    assert laid(b="2") == one
    assert laid(b="3") != one
    assert laid(b="2", c="") != one
