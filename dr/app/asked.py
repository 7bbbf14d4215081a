"""What was asked for, as text that a provider's tags take: another machine goes on with it by that alone. Pure.

JSON without spaces, deflated, since verbs repeat each other, and in base64, whose letters every tag takes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

from dr.domain.errors import EvidenceError
from dr.domain.model import Verb
from dr.domain.tags import gathered
from dr.host.decode import json_of

_LONGEST = 64 << 10
"""Bytes of a request: what a tag says may be anything, and a few letters inflate to gigabytes."""


def digest(target: str, verbs: Sequence[Verb]) -> str:
    """What equal requests share."""
    content = json.dumps([target, _plain(verbs)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def gist(target: str, verbs: Sequence[Verb]) -> str:
    """What the requests of one command share, whatever its version of dr made of it: its first verb, and whether that
    is examined. How it is measured, and in how many verbs, differs between versions."""
    examines = [Verb("examine")] if any(verb.name == "examine" for verb in verbs) else []
    return digest(target, [*verbs[:1], *examines])


def packed(verbs: Sequence[Verb]) -> str:
    """What was asked for, as letters, digits and ``+/=``."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(_plain(verbs)), 9)).decode()


def unpacked(tags: Mapping[str, str], target: str, known: Set[str]) -> tuple[Verb, ...]:
    """The request that a restoration's ``tags`` hold. ``known``: the verbs that it may consist of. Raises
    EvidenceError, in a few words, for tags that hold no such request of ``target``, or one that was altered."""
    text = gathered(tags)
    if not text:
        raise EvidenceError("they hold no request")
    try:
        inflating = zlib.decompressobj()
        content = inflating.decompress(base64.b64decode(text, validate=True), _LONGEST)
    except (ValueError, zlib.error):
        raise EvidenceError("their request was altered") from None
    if not inflating.eof:
        raise EvidenceError("their request is cut, or longer than any")
    verbs = tuple(
        Verb(name, args) for name, args in json_of(content, list[tuple[str, dict[str, Any]]], "their request")
    )
    strange = sorted({verb.name for verb in verbs} - known)
    if strange or not verbs:
        raise EvidenceError(f"their request is none of a restore ({', '.join(strange) or 'it is empty'})")
    if digest(target, verbs) != tags.get("dr:request"):
        raise EvidenceError(f"their request and its digest (dr:request) differ, or it is none of target {target!r}")
    return verbs


def _plain(verbs: Sequence[Verb]) -> list[list[Any]]:
    return [[verb.name, verb.args] for verb in verbs]
