"""The door to toml: a file → its strict type; ConfigError names the file and the key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from execution import small_files
from execution.errors import ConfigError

T = TypeVar("T")

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 20
# What msgspec calls the types of a toml file, in words.
TYPES: Final = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def read_toml(path: Path, shape: type[T]) -> T:
    """Decode one toml file strictly; ConfigError names the file and the key."""
    return decode(read_raw(path), shape, path)


def read_raw(path: Path) -> dict[str, Any]:
    """Read one toml file as it is."""
    try:
        raw = tomllib.loads(small_files.read(path, MAX_BYTES).decode())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: is missing: restore it, or mend HEDGE_OPS_DIR") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as toml: {error}") from error
    for problem in _problems(raw, "", 0):
        raise ConfigError(f"{path}: {problem}")
    return raw


def decode(raw: dict[str, Any], shape: type[T], path: Path) -> T:
    """Take a table into its strict type; `path` is where it came from."""
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_say(str(error), raw, shape)}") from error


def _problems(value: object, key: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{key}: nested deeper than {MAX_DEPTH} levels"
    elif isinstance(value, float) and not isfinite(value):
        yield f"{key}: nan and inf are not numbers here"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _problems(inner, f"{key}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _problems(inner, f"{key}[{place}]", depth + 1)


def _say(error: str, raw: dict[str, Any], shape: type[object]) -> str:
    """Turn msgspec's `what - at place` into `key: what`, naming the entry of a table or list."""
    what, _, at = error.partition(" - at ")
    place = at.replace("`", "").removeprefix("$").removeprefix(".")
    if entry := re.fullmatch(r"(?:key in \$\.(\w+)|(\w+)\[\.\.\.\])(.*)", place):
        table = entry[1] or entry[2]
        place = f"{table}.{_failing_key(table, error, raw, shape)}{entry[3]}"
    elif entry := re.fullmatch(r"(\w+)\[(\d+)\](.*)", place):
        item = raw[entry[1]][int(entry[2])]
        named = item.get("name", item.get("symbol")) if isinstance(item, dict) else None
        place = f"{entry[1]}[{named or entry[2]}]{entry[3]}"
    if field := re.fullmatch(r"Object (contains unknown|missing required) field `(.+)`", what):
        place = f"{place}.{field[2]}".removeprefix(".")
        unknown = "unknown" in field[1]
        what = "is unknown: correct its name, or remove it" if unknown else "is missing: add it"
    elif what.startswith("Invalid"):
        what = f"{what}: its comment says what is allowed"
    for name, words in TYPES.items():
        what = what.replace(f"`{name}`", words)
    return f"{place}: {what}" if place else what


def _failing_key(table: str, error: str, raw: dict[str, Any], shape: type[object]) -> str:
    """Find the entry that alone makes the same error; msgspec does not say which it is."""
    for key, value in raw[table].items():
        try:
            msgspec.convert({**raw, table: {key: value}}, shape)
        except msgspec.ValidationError as alone:
            if str(alone) == error:
                return str(key)
    return "?"
