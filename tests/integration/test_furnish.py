"""kubectl is run as the platform needs it: a stand-in notes what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.errors import ProviderError
from dr.lab.cluster.furnish import Kubectl, furnish
from dr.lab.cluster.platform import FILES, secret

NOTING = '#!/bin/sh\necho "$@" >> {notes}\ncase "$*" in *"--filename -"*) cat >> {said};; esac\n'


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(NOTING.format(notes=tmp_path / "notes", said=tmp_path / "said"))
    program.chmod(0o755)
    return Kubectl(program, tmp_path / "kubeconfig")


def test_definitions_are_waited_for_and_secrets_come_before_what_reads_them(tmp_path: Path, kubectl: Kubectl) -> None:
    furnish(kubectl, [secret("login", {"password": "s3cret"})])
    told = (tmp_path / "notes").read_text().splitlines()
    assert all(line.startswith(f"--kubeconfig {tmp_path / 'kubeconfig'} ") for line in told)
    definitions, namespaces, *rest = map(str, FILES)
    assert [line.split()[-1] for line in told[:-1]] == [definitions, definitions, namespaces, "-"]
    assert told[-1].split()[2:] == ["apply", *(f"--filename={path}" for path in rest)]
    assert " wait --for=condition=Established " in told[1]


def test_a_secret_s_value_stands_in_no_argument(tmp_path: Path, kubectl: Kubectl) -> None:
    kubectl.apply([secret("login", {"password": "s3cret"})])
    assert "czNjcmV0" in (tmp_path / "said").read_text()
    assert "czNjcmV0" not in (tmp_path / "notes").read_text()


def test_a_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho first >&2\necho 'no matches for kind' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ProviderError, match=r"kubectl get failed: no matches for kind\."):
        Kubectl(program, tmp_path / "kubeconfig").run("get", "x")
