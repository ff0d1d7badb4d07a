"""What is written now: the documents to be against what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from execution.core.mirror import documents as docs
from execution.core.mirror import values
from execution.core.mirror.documents import Document

# What every document carries besides its content.
MARKS: Final = ("mode", "account", "writer", "mirrored_ts")
UNHASHED: Final = frozenset({"writer", "mirrored_ts"})

Version = tuple[int, int]  # when the server last wrote a document, in its seconds and nanoseconds


class Stamp(Struct, frozen=True):
    """Whose documents these are; `writer` names the one service of the one log folder."""

    mode: str
    account: str
    writer: str


class Held(Struct, frozen=True):
    """A document as the server told or acknowledged it.

    `fields` are kept only where the next document may be built on them.
    """

    version: Version
    digest: str
    seq: int
    mode: str | None
    account: str | None
    writer: str | None
    mirrored_ts: float
    fields: dict[str, Any] | None


class Write(Struct, frozen=True):
    """One document to send, on condition that the one there is still `version` (None: is none)."""

    document: Document
    digest: str
    version: Version | None

    @property
    def name(self) -> str:
        """Return the document's name."""
        return self.document.name


class Plan(Struct, frozen=True):
    """What to send, what is there already, and what is held back with its reason."""

    writes: tuple[Write, ...]
    unchanged: tuple[str, ...]
    withheld: dict[str, str]


def decide(
    documents: Iterable[Document],
    there: Mapping[str, Held | None],
    stamp: Stamp,
    now: float,
    rejected: Mapping[str, str],
) -> Plan:
    """Decide which documents are sent; every one must be in `there`, None where it does not exist.

    `rejected` are the digests that the server refused, by name.
    """
    writes: list[Write] = []
    unchanged: list[str] = []
    withheld: dict[str, str] = {}
    for document in documents:
        held = there[document.name]
        ready = _ready(document, held, stamp, now)
        if isinstance(ready, str):
            withheld[document.name] = ready
            continue
        digest = digest_of(ready.fields, ready.moving)
        if held is not None and digest == held.digest and document.kind != "beat":
            unchanged.append(document.name)
        elif rejected.get(document.name) == digest:
            withheld[document.name] = "the server refused this content"
        elif (problem := values.problem(ready.fields)) is not None:
            withheld[document.name] = problem
        else:
            writes.append(Write(ready, digest, None if held is None else held.version))
    return Plan(tuple(writes), tuple(unchanged), withheld)


def held_as(document: Document, fields: Mapping[str, Any], version: Version) -> Held:
    """Remember a document as it is there now; `document` says how it is compared."""
    keep = document.kind == "series" or "known" in document.fields
    seq, mirrored_ts = fields.get("seq"), fields.get("mirrored_ts")
    mode, account, writer = (fields.get(name) for name in MARKS[:3])
    return Held(
        version=version,
        digest=digest_of(fields, document.moving),
        seq=seq if isinstance(seq, int) else 0,
        mode=mode,
        account=account,
        writer=writer,
        mirrored_ts=mirrored_ts if isinstance(mirrored_ts, float) else 0.0,
        fields=dict(fields) if keep else None,
    )


def other_writer(held: Held | None, stamp: Stamp, now: float, lease_s: float) -> str | None:
    """Say who else keeps this mirror, where its last sign of life is younger than `lease_s`."""
    if held is None or held.writer in (None, stamp.writer) or held.account != stamp.account:
        return None
    age_s = now - held.mirrored_ts
    if abs(age_s) > lease_s:
        return None
    return f"another process mirrors account {held.account}: written {age_s:.0f} s ago by {held.writer}"


def digest_of(fields: Mapping[str, Any], moving: frozenset[str]) -> str:
    """Hash what is left of a document without its moving keys and the marks of its writing."""
    content = _settled({k: v for k, v in fields.items() if k not in UNHASHED}, moving)
    return hashlib.blake2b(
        msgspec.json.encode(content, order="deterministic"), digest_size=16
    ).hexdigest()


def _ready(document: Document, held: Held | None, stamp: Stamp, now: float) -> Document | str:
    """Return the document as it would be sent, or why it is not."""
    if held is not None and held.account != stamp.account:
        return f"what is there belongs to account {held.account or 'unknown'}"
    there = held.fields if held is not None and held.mode == stamp.mode else None
    if document.kind == "series" and there is not None:
        document = docs.joined(there, document)
    if not document.known:
        if there is None:
            return "the numbers are unknown, and none were mirrored yet"
        document = _last_good(document, there)
    if held is not None and held.seq > document.seq:
        return f"what is there is newer: seq {held.seq}, here {document.seq}"
    marks = {"mode": stamp.mode, "account": stamp.account, "writer": stamp.writer}
    return replace(document, fields={**document.fields, **marks, "mirrored_ts": now})


def _last_good(document: Document, there: Mapping[str, Any]) -> Document:
    """Keep the numbers that are there, with their own `as_of_ts`, marked as stale."""
    times = document.fields.keys() & (document.moving - {"as_of_ts"})
    moved = {name: document.fields[name] for name in times}
    return replace(document, fields={**there, **moved, "stale": True})


def _settled(value: object, moving: frozenset[str]) -> object:
    if isinstance(value, Mapping):
        return {key: _settled(inner, moving) for key, inner in value.items() if key not in moving}
    if isinstance(value, list):
        return [_settled(inner, moving) for inner in value]
    return value
