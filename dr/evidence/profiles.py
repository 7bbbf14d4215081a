"""What a target's source was set to when it was last seen, kept outside the provider: DR_HOME/profiles/TARGET.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dr.domain.errors import ProviderError
from dr.host.decode import find_json
from dr.host.files import write_atomically


def path_of(home: Path, target: str) -> Path:
    """Where the profile of ``target`` lies."""
    return home / "profiles" / f"{quote(target, safe='')}.json"


def store(home: Path, target: str, profile: Mapping[str, Any]) -> None:
    """Replace the profile as one step: a reader finds the old one or the new. Raises ProviderError on a full disk."""
    path = path_of(home, target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(profile, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise ProviderError(
            f"The profile {path} cannot be written: {error.strerror}.", "Make DR_HOME writable, with space left."
        ) from None


def load(home: Path, target: str) -> dict[str, Any] | None:
    """The stored profile, or None where there never was one. Raises EvidenceError where it cannot be read."""
    return find_json(path_of(home, target), dict[str, Any], hint="Put a whole profile back, or delete it.")


def forget(home: Path, target: str) -> None:
    """Remove the profile of a target that is gone."""
    path_of(home, target).unlink(missing_ok=True)
