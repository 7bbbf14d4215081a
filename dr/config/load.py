"""Find and read the configuration: flag, then DR_ environment variable, then dr.yaml, then defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import yaml

from dr.config import former
from dr.config.model import Settings, Target
from dr.config.place import check_entered
from dr.config.plugins import settings_type, target_type, unloaded
from dr.domain.errors import RefusedError, UsageError
from dr.domain.refs import check_name
from dr.host.decode import read_yaml
from dr.host.signals import say

LAB = "lab"


def home() -> Path:
    """Where state lives: DR_HOME, else the place for a user's data; for root the site's, which others may cross. Raises
    UsageError where it is no directory, RefusedError where this user may not read and enter it."""
    named = os.environ.get("DR_HOME")
    if named:
        path = Path(named).expanduser().absolute()
    elif os.geteuid() == 0:
        path = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/dr"))
    else:
        path = platformdirs.user_data_path("dr")
    check_entered(path)
    return path


def lab_target_file() -> Path:
    """The file that a running lab publishes: its target, as dr.yaml would say it."""
    return home() / "lab" / "target.yaml"


def file() -> Path | None:
    """DR_CONFIG, or dr.yaml in the working directory; None where there is neither."""
    named = os.environ.get("DR_CONFIG")
    return Path(named) if named else Path("dr.yaml") if Path("dr.yaml").exists() else None


def load(path: Path | None, limits: Mapping[str, Any]) -> Settings:
    """Read dr.yaml from ``path``, DR_CONFIG or the working directory. No file: defaults. Raises UsageError. ``limits``:
    those that may stand under ``objectives``, name to the type of its number. A target that needs a provider which is
    not here is unusable, and hinders none of the others."""
    path = path or file()
    if path is None:
        return Settings()
    unusable: dict[str, str] = {}

    def usable(written: Any) -> Any:
        present = former.settings(written)
        if not isinstance(present, Mapping):
            return present
        targets, stated = present.get("targets"), present.get("objectives")
        if isinstance(targets, Mapping):
            named = ((name, one) for name, one in targets.items() if isinstance(name, str))  # others are refused
            unusable.update((name, why) for name, one in named if (why := _strange(name, one)))
            present = {**present, "targets": {name: one for name, one in targets.items() if name not in unusable}}
        if isinstance(stated, Mapping) and (unusable or unloaded()):
            present = {**present, "objectives": _known(stated, limits)}
        return present

    read = read_yaml(path, settings_type(limits), UsageError, present=usable)
    for name in (*read.targets, *unusable):
        try:
            check_name(name, "target")
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    return Settings(read.targets, msgspec.to_builtins(read.objectives), read.meter, unusable)


def _strange(name: str, written: object) -> str:
    """Which section of a target is no provider's that is here, and what to do next; "" where each is."""
    fields = target_type().__struct_fields__
    strange = sorted(str(key) for key in written if key not in fields) if isinstance(written, Mapping) else []
    if not strange:
        return ""
    if moved := {key: section for key in strange if (section := former.place(key)) in fields}:
        told = "; ".join(f"{key} into section {section}" for key, section in moved.items())
        return (
            f"Target {name!r} cannot be used: beside sections it has fields as targets had them before there were any."
            f" In dr.yaml, put {told}{' (as the whole of it)' if 'database' in moved else ''}."
        )
    named = os.environ.get("DR_PLUGINS")
    return (
        f"Target {name!r} cannot be used: it says {', '.join(strange)}, which is neither a field of a target nor a"
        f" provider's section here ({f'DR_PLUGINS is {named}' if named else 'DR_PLUGINS is not set'}). Set DR_PLUGINS"
        " to the directory that holds the provider's folder, or take it out of dr.yaml. Fields and sections there are:"
        f" {', '.join(sorted(fields))}."
    )


def _known(stated: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that are known. Any other may be that of an objective of a provider which is not here, and is named:
    nothing can demand it here."""
    for name in sorted({*map(str, stated)} - {*limits}):
        say(f"The limit {name} in dr.yaml is left out: no provider that can be loaded here brings such an objective.")
    return {name: value for name, value in stated.items() if name in limits}


def rewritten(name: str) -> str:
    """What to write for the target ``name`` in dr.yaml, where it stands there in the former form; else ""."""
    path = file()
    written = read_yaml(path, dict[str, Any], UsageError).get("targets", {}).get(name) if path is not None else None
    if not former.is_former(written):
        return ""
    return yaml.safe_dump({name: former.target(written)}, sort_keys=False)


def find_target(settings: Settings, name: str) -> Target:
    """The target called ``name``; "lab" is the one a running lab published. Raises UsageError, RefusedError."""
    check_name(name, "target")
    if name in settings.unusable:
        raise UsageError(settings.unusable[name])
    if name in settings.targets:
        return settings.targets[name]
    if name == LAB:
        if _published():
            hint = "Mend it, or take the lab down and up again."
            return read_yaml(lab_target_file(), target_type(), UsageError, hint, former.target)
        raise RefusedError("The lab is not running.", "Start it with 'dr lab up', or name another --target.")
    known = ", ".join(sorted({*settings.targets, *settings.unusable, LAB}))
    raise UsageError(f"There is no target {name!r}.", f"Known targets: {known}.")


def present(settings: Settings) -> tuple[str, ...]:
    """Every target that there is at the moment: a lab comes and goes."""
    return tuple(dict.fromkeys((*settings.targets, *settings.unusable, *((LAB,) if _published() else ()))))


def _published() -> bool:
    """Whether a lab may have published its target: also where that cannot be seen, so that reading it says why."""
    try:
        lab_target_file().stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
