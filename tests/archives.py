"""Velero's archives in a lab's S3, tampered with: what a backup holds is another thing than what was backed up."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

from dr.lab.cluster.storage import BACKUPS

Change = Callable[[dict[str, Any]], bool | None]
"""Alters an object as it is; False leaves it out."""


def tampered(client: Any, backup: str, resource: str, space: str, name: str, change: Change) -> bytes:
    """Change an object in a backup's archive, in each place where that has it. Returns the archive as it was."""
    place = f"/{space}/{name}.json"

    def altered(path: str, text: bytes) -> bytes | None:
        if f"resources/{resource}/" not in path or not path.endswith(place):
            return text
        one = json.loads(text)
        return None if change(one) is False else json.dumps(one).encode()

    return rewritten(client, backup, altered)


def rewritten(client: Any, backup: str, each: Callable[[str, bytes], bytes | None]) -> bytes:
    """Put ``each`` file of a backup's archive anew, or leave it out for None. Returns the archive as it was."""
    was, written = client.get_object(Bucket=BACKUPS, Key=_key(backup))["Body"].read(), io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(was)) as old, tarfile.open(fileobj=written, mode="w:gz") as new:
        for member in old:
            opened = old.extractfile(member)
            text = each(member.name, opened.read() if opened else b"")
            if text is not None:
                member.size = len(text)
                new.addfile(member, io.BytesIO(text))
    replace(client, backup, written.getvalue())
    return bytes(was)


def replace(client: Any, backup: str, archive: bytes) -> None:
    client.put_object(Bucket=BACKUPS, Key=_key(backup), Body=archive)


def _key(backup: str) -> str:
    return f"backups/{backup}/{backup}.tar.gz"
