"""What runs of a lab's cluster on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from dr.lab.cluster.control import FOLDER

PLANE = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
"""The names of the control plane's processes."""


def processes(home: Path) -> dict[str, psutil.Process]:
    """Those of the control plane, by name. ``home``: the lab's DR_HOME."""
    found = {}
    for path in (home / "lab" / FOLDER / "lab").glob("*.pid"):
        with suppress(ValueError, psutil.NoSuchProcess):  # it has just ended, or is being started
            found[path.stem] = psutil.Process(int(path.read_text()))
    return found


def lasting(seen: Mapping[str, psutil.Process]) -> list[str]:
    """Which of them still run."""
    return [name for name, one in seen.items() if one.is_running() and one.status() != "zombie"]


def pods_processes(home: Path) -> list[psutil.Process]:
    """Those of the lab's pods and of its nodes."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            place = f"{home}/lab/{FOLDER}/"
            if place in one.environ().get("DR_LAB_HOSTS", "") or place in " ".join(one.cmdline()):
                found.append(one)
    return found
