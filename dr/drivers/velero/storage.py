"""Files that Velero keeps in its object storage: it is asked for a URL that is signed for a few minutes."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import urllib3

from dr.domain.errors import ProviderError
from dr.drivers.kubernetes.cluster import Cluster
from dr.host.bounded import persistently
from dr.host.hearing import pause
from dr.ports import Clock

CONTENTS, LIST, RESULTS = "BackupContents", "BackupResourceList", "RestoreResults"
"""Kinds of files: a backup's archive, Velero's list of what it backed up, and a restore's warnings and errors."""
SIGNED_SECONDS, GLANCE = 30.0, 0.1
"""How long Velero may take to sign a URL, and between two looks."""
FETCH_SECONDS, AGAIN_SECONDS = 120.0, 8.0
"""How long a file may take, and how long it is asked for again."""
MISSING = 404


class Files:
    """Those of one Velero. ``path``: of a kind of its objects, in the API."""

    def __init__(self, cluster: Cluster, path: Callable[[str], str], clock: Clock) -> None:
        self._cluster, self._path, self._clock = cluster, path, clock

    def fetch(self, kind: str, of: str, location: Mapping[str, Any]) -> bytes:
        """A file of the backup or restore ``of``. ``location``: the storage location where it lies. A URL that is not
        taken may have been signed too long ago, so that another one is asked for. Raises ProviderError."""

        def patience(error: ProviderError) -> float:
            return AGAIN_SECONDS if error.transient else 0.0

        return persistently(self._clock, patience, partial(self._fetched, kind, of, location))

    def _fetched(self, kind: str, of: str, location: Mapping[str, Any]) -> bytes:
        name = f"{of[:40].rstrip('-.')}-{secrets.token_hex(4)}"
        request = {
            "apiVersion": "velero.io/v1",
            "kind": "DownloadRequest",
            "metadata": {"name": name},
            "spec": {"target": {"kind": kind, "name": of}},
        }
        self._cluster.create(self._path("downloadrequests"), request)
        own = f"{self._path('downloadrequests')}/{name}"
        try:
            return self._get(self._signed(own, kind, of), _authority(location), of)
        finally:
            self._cluster.delete(own, {})

    def results(self, restore: str, location: Mapping[str, Any]) -> Mapping[str, Any]:
        """The warnings and errors of a restore, as Velero parts them: {warnings: {velero, cluster, namespaces}}."""
        packed = self.fetch(RESULTS, restore, location)
        try:
            found = json.loads(gzip.decompress(packed))
        except (ValueError, OSError, zlib.error, EOFError):
            raise ProviderError(f"What Velero told of restore {restore} cannot be read.") from None
        return found if isinstance(found, dict) else {}

    def _signed(self, own: str, kind: str, of: str) -> str:
        limit = self._clock.now().mono_ns + round(SIGNED_SECONDS * 1e9)
        while self._clock.now().mono_ns < limit:
            found = self._cluster.get(own) or {}
            url = (found.get("status") or {}).get("downloadURL")
            if url:
                return str(url)
            pause(self._clock, GLANCE)
        raise ProviderError(
            f"Velero gave no URL for {kind} of {of} within {SIGNED_SECONDS:.0f} s.",
            "See whether its server runs, and whether its storage location is available.",
        )

    def _get(self, url: str, authority: bytes, of: str) -> bytes:
        """The URL holds a signature, and is told to nobody."""
        try:
            with urllib3.PoolManager(ca_cert_data=authority or None) as pool:
                answer = pool.request("GET", url, timeout=FETCH_SECONDS, retries=False, decode_content=False)
                if answer.status == 200:
                    return bytes(answer.data)
                why, passing = f"HTTP {answer.status}", answer.status != MISSING
        except urllib3.exceptions.HTTPError as error:
            why, passing = type(error).__name__, True
        raise ProviderError(
            f"The file of {of} could not be read from Velero's storage location ({why}).",
            "See whether that is reached from here: its publicUrl, network and certificate.",
            transient=passing,
        )


def _authority(location: Mapping[str, Any]) -> bytes:
    """The certificate of the authority that a storage location names; empty: the system's."""
    held = ((location.get("spec") or {}).get("objectStorage") or {}).get("caCert") or ""
    try:
        return base64.b64decode(held)
    except ValueError:
        return b""
