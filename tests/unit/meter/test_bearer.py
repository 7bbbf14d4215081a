"""The token that a service asks for: sent as it is, named by its reference alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.errors import RefusedError
from dr.meter.bearer import authorization, check_taken


def test_a_token_is_a_header_and_none_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert authorization("") == {}
    monkeypatch.setenv("TOKEN", "t0ken+/~.=")
    assert authorization("env:TOKEN") == {"Authorization": "Bearer t0ken+/~.="}
    (tmp_path / "token").write_text("t0ken\nnot this\n")
    assert authorization(f"file:{tmp_path / 'token'}") == {"Authorization": "Bearer t0ken"}


@pytest.mark.parametrize(
    "value", ["", "two words", "t0ken\r\nX-More: 1", "t\N{LATIN SMALL LETTER O WITH DIAERESIS}ken"]
)
def test_what_no_header_carries_is_refused_by_its_reference(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", value)
    with pytest.raises(RefusedError, match="The secret 'env:TOKEN' is no token") as refused:
        authorization("env:TOKEN")
    assert not value or value not in str(refused.value)


def test_an_absent_token_is_named_by_its_reference() -> None:
    with pytest.raises(RefusedError, match="The secret 'file:/not/there' is not there"):
        authorization("file:/not/there")


@pytest.mark.parametrize("status", [401, 403])
def test_a_service_that_wants_another_token_is_told_apart_from_one_that_is_ill(status: int) -> None:
    with pytest.raises(RefusedError, match=rf"at http://s refuses .* env:TOKEN \(status {status}\)\. Put there what"):
        check_taken("at http://s", status, "env:TOKEN")
    with pytest.raises(RefusedError, match=rf"asks for a token, and the target names none \(status {status}\)\. Name"):
        check_taken("at http://s", status, "")
    for other in (0, 200, 400, 404, 422, 500, 503):
        check_taken("at http://s", other, "env:TOKEN")
