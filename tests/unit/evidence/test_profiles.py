"""The profile of a source, kept outside the provider."""

import errno
import os
from pathlib import Path

import pytest

from dr.domain.errors import EvidenceError, ProviderError
from dr.evidence import profiles


def test_what_was_stored_last_is_loaded(tmp_path: Path) -> None:
    profiles.store(tmp_path, "prod", {"a": 1})
    profiles.store(tmp_path, "prod", {"a": 2})
    assert profiles.load(tmp_path, "prod") == {"a": 2}
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["prod.json"]


def test_a_target_that_was_never_seen_has_none(tmp_path: Path) -> None:
    assert profiles.load(tmp_path, "prod") is None


def test_a_targets_name_stays_inside_the_directory(tmp_path: Path) -> None:
    profiles.store(tmp_path, "../../etc/x", {"a": 1})
    assert profiles.path_of(tmp_path, "../../etc/x").parent == tmp_path / "profiles"
    assert profiles.load(tmp_path, "../../etc/x") == {"a": 1}


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_torn_profile_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    profiles.store(tmp_path, "prod", {})
    profiles.path_of(tmp_path, "prod").write_text(content)
    with pytest.raises(EvidenceError, match=r"prod\.json"):
        profiles.load(tmp_path, "prod")


def test_a_full_disk_leaves_the_old_profile_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.store(tmp_path, "prod", {"a": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ProviderError, match="No space left"):
        profiles.store(tmp_path, "prod", {"a": 2})
    assert profiles.load(tmp_path, "prod") == {"a": 1}
    assert len(list((tmp_path / "profiles").iterdir())) == 1
