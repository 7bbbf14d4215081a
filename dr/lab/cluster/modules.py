"""The two Go modules of the cluster's programs, beside this file: what they pin, and what is linked of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
VELERO = ("velero", "velero-plugin-for-aws")


@dataclass(frozen=True)
class Module:
    """One of them. ``requires``: the module whose version it is known by. ``pattern``: what of it is built. ``names``:
    of its programs; ``one``: the file that all of them are links to, "" where each is its own. ``values``: what is
    linked into variables, with {version}, {major} and {minor} of what is pinned. ``asked``: what its first program
    tells that for."""

    title: str
    folder: Path
    requires: str
    pattern: str
    names: tuple[str, ...]
    one: str
    values: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def version(self) -> str:
        """As go.mod pins it, without the v."""
        found = re.search(rf"^\s*(?:require )?{re.escape(self.requires)} v(\S+)", self._text("go.mod"), re.MULTILINE)
        assert found is not None, f"{self.folder / 'go.mod'} does not pin {self.requires}"  # noqa: S101
        return found[1]

    @property
    def link(self) -> str:
        """What the linker is told: without symbols, and with the version that the programs tell."""
        major, minor = self.version.split(".")[:2]
        values = (value.format(version=self.version, major=major, minor=minor) for value in self.values)
        return " ".join(["-s", "-w", *(f"-X {value}" for value in values)])

    @property
    def stamp(self) -> str:
        """The name of the folder of what is built of it: another one once anything of it changes."""
        parts = [path.name.encode() + path.read_bytes() for path in sorted(self.folder.iterdir())]
        digest = hashlib.sha256(b"\0".join([*parts, self.link.encode(), " ".join(self.names).encode()])).hexdigest()
        return f"{self.title.lower()}-{self.version}-{digest[:10]}"

    def __str__(self) -> str:
        return f"{self.title} {self.version}"

    def _text(self, name: str) -> str:
        return (self.folder / name).read_text()


MODULES = (
    Module(
        "Kubernetes",
        HERE / "controlplane",
        "k8s.io/kubernetes",
        ".",
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kubelet", "kubectl"),
        "controlplane",
        tuple(
            f"k8s.io/{package}.{value}"
            for package in ("component-base/version", "client-go/pkg/version")
            for value in ("gitVersion=v{version}", "gitMajor={major}", "gitMinor={minor}")
        ),
        ("--version",),
    ),
    Module(
        "Velero",
        HERE / "velero",
        "github.com/vmware-tanzu/velero",
        "tool",
        VELERO,
        "",
        (
            "github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v{version}",
            # Its server would listen on port 8080 of every address, which no flag changes.
            "sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0",
        ),
        ("version", "--client-only"),
    ),
)
KUBERNETES = MODULES[0]
