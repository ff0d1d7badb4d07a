"""The environment a process lives in: its own variables over those of `.env`, and how one is read.

`settings` and `v6_flags` are the doors; they hand in the process environment, which this room never
touches. Values are taken as written, nothing is interpolated; a relative path starts at the
project's root, whatever the working directory. Empty means unset. Each reader raises ConfigError
naming its variable.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from execution import guards, small_files
from execution.errors import ConfigError

KEYS: Final = ("BINANCE_API_KEY", "BINANCE_API_SECRET")
# What a file's mode grants to anybody but its owner.
OTHERS: Final = 0o077
DOTENV_BYTES: Final = 64 * 1024

ROOT: Final = Path(__file__).resolve().parents[1]

Environ = Mapping[str, str]


class Secret:
    """A text that is shown only on purpose."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the call that signs with it; empty where unset."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(redacted)" if self._text else "Secret(unset)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialized")


# ---------------------------------------------------------------- .env


def overlay(environ: Environ) -> dict[str, str]:
    """Return `environ` over the `.env` that it names or, by default, the project's."""
    return {**read_dotenv(dotenv_path(environ)), **environ}


def dotenv_path(environ: Environ) -> Path:
    """Return where `.env` is."""
    return read_path(environ, "HEDGE_ENV_FILE") or ROOT / ".env"


def read_dotenv(path: Path) -> dict[str, str]:
    """Read the variables of one `.env`; a missing file has none.

    A line that cannot be read is refused by number: skipped in silence, it could be the one that
    keeps orders on this machine. A file with keys in it is refused where others may read it too.
    """
    try:
        text = small_files.read(path, DOTENV_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): mend it, or move it away") from error
    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(f"{path}: line {binding.original.line}: expected NAME=value")
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    if any(found.get(name) for name in KEYS) and path.stat().st_mode & OTHERS:
        raise ConfigError(
            f"{path}: holds an exchange key, and others may read it: type `chmod 600 {path}`"
        )
    return found


# ---------------------------------------------------------------- one variable


def read_matching(values: Environ, name: str, pattern: str, default: str, wanted: str) -> str:
    """Read a text that matches `pattern` from end to end; `wanted` says it in words."""
    text = values.get(name) or default
    if re.fullmatch(pattern, text) is None:
        raise ConfigError(f"{name}={text!r}: expected {wanted}; unset means {default or 'none'}")
    return text


def read_path(values: Environ, name: str) -> Path | None:
    """Read a path; whether anything is there is the reader's concern."""
    text = values.get(name)
    return resolve(name, text) if text else None


def resolve(name: str, text: str) -> Path:
    """Make a path absolute."""
    try:
        return ROOT / Path(text).expanduser()
    except RuntimeError as error:  # `~` of nobody here
        raise ConfigError(
            f"{name}={text!r}: there is no such home: write the whole path"
        ) from error


def read_machine_dir(values: Environ) -> Path:
    """Return this user's state folder on this machine, by the XDG rule: a relative path is none."""
    home = values.get("XDG_STATE_HOME", "")
    base = home if home.startswith("/") else "~/.local/state"
    return resolve("XDG_STATE_HOME", base) / "hedge"


def read_secret(values: Environ, name: str) -> Secret:
    """Read a secret, which no message ever shows."""
    text = values.get(name, "")
    if re.fullmatch(r"[!-~]*", text) is None:
        raise ConfigError(f"{name}: holds a space or another invisible character: paste it again")
    return Secret(text)


def read_base_url(values: Environ) -> str | None:
    """Read BINANCE_BASE_URL, which leads nowhere but to this machine."""
    url = values.get("BINANCE_BASE_URL")
    if not url:
        return None
    if not guards.is_loopback_url(url):
        raise ConfigError(
            "BINANCE_BASE_URL: only this machine is allowed, as in http://127.0.0.1:8080: unset it"
        )
    return url.rstrip("/")


def read_emulator(values: Environ) -> str | None:
    """Read FIRESTORE_EMULATOR_HOST, host:port on this machine."""
    address = values.get("FIRESTORE_EMULATOR_HOST")
    if not address:
        return None
    if not guards.is_loopback_address(address):
        raise ConfigError(
            "FIRESTORE_EMULATOR_HOST: only this machine is allowed, as in 127.0.0.1:8080: unset it"
        )
    return address


def read_cutoff_ts(values: Environ) -> float | None:
    """Read NAV_CUTOFF_ISO as epoch seconds; a time without a zone is UTC."""
    text = values.get("NAV_CUTOFF_ISO")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"NAV_CUTOFF_ISO={text!r}: expected a time such as 2026-01-31T00:00:00Z"
        ) from error


def read_cutoff_age(values: Environ) -> float | None:
    """Read NAV_CUTOFF_SECAGO, an age in seconds."""
    text = values.get("NAV_CUTOFF_SECAGO")
    if not text:
        return None
    try:
        age_s = float(text)
    except ValueError:
        age_s = math.nan
    if not (math.isfinite(age_s) and age_s >= 0):
        raise ConfigError(f"NAV_CUTOFF_SECAGO={text!r}: expected seconds, 0 or more")
    return age_s
