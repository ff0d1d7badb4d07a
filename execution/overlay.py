"""The candidate: what `ops/shadow.toml` changes in the live policy's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from msgspec import Struct

from execution.errors import ConfigError

Table = dict[str, Any]

FILE: Final = "shadow.toml"


class Overlay(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/shadow.toml`: any key of risk.toml, router.toml and strategy.toml, at its own place.

    `strategy` holds the keys of an entry of strategy.toml by the entry's name.
    """

    risk: Table = {}
    router: Table = {}
    sizing: Table = {}
    strategy: dict[str, Table] = {}


class Change(Struct, frozen=True):
    """One key that the overlay sets: its file, its place there, and both values.

    `was` is None where the live file leaves the key out. In strategy.toml an entry stands under its
    name.
    """

    file: str
    place: tuple[str, ...]
    was: object
    becomes: object


def lay(tables: Mapping[str, Table], overlay: Overlay) -> dict[str, Table]:
    """Return the live tables by file name with the overlay on them; ConfigError names a bad key."""
    laid = deepcopy({**tables})
    for change in changes(tables, overlay):
        table: Any = laid[change.file]
        for step in change.place[:-1]:
            table = _entry(table, step) if isinstance(table, list) else table.setdefault(step, {})
        table[change.place[-1]] = deepcopy(change.becomes)
    return laid


def changes(tables: Mapping[str, Table], overlay: Overlay) -> Iterator[Change]:
    """Yield each key that the overlay sets, also where it sets what is there."""
    yield from _leaves("risk.toml", (), tables["risk.toml"], overlay.risk)
    yield from _leaves("router.toml", (), tables["router.toml"], overlay.router)
    strategies = tables["strategy.toml"]
    yield from _leaves("strategy.toml", ("sizing",), strategies.get("sizing", {}), overlay.sizing)
    for name, own in overlay.strategy.items():
        if "name" in own:
            raise ConfigError(f"strategy.{name}.name: a strategy keeps its name: remove it")
        live = _entry(strategies.get("strategy", []), name)
        yield from _leaves("strategy.toml", ("strategy", name), live, own)


def _leaves(file: str, place: tuple[str, ...], live: object, over: object) -> Iterator[Change]:
    if isinstance(over, dict):
        for key, value in over.items():
            there = live.get(key) if isinstance(live, dict) else None
            yield from _leaves(file, (*place, key), there, value)
    else:
        yield Change(file, place, live, over)


def _entry(entries: list[Table], name: str) -> Table:
    for entry in entries:
        if entry.get("name") == name:
            return entry
    raise ConfigError(f"strategy.{name}: strategy.toml has no strategy of that name")
