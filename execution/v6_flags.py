"""The six v6 feature flags: their names, how they are spelled, and what they say now."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final

from execution import environment, guards
from execution.errors import ConfigError

FLAG_NAMES: Final = (
    "INTEL_V6_ENABLED",
    "RISK_ENGINE_V6_ENABLED",
    "PIPELINE_V6_SHADOW_ENABLED",
    "ROUTER_AUTOTUNE_V6_ENABLED",
    "FEEDBACK_ALLOCATOR_V6_ENABLED",
    "ROUTER_AUTOTUNE_V6_APPLY_ENABLED",
)


def read_flags(environ: Mapping[str, str]) -> dict[str, bool]:
    """Read the flags in their fixed order; ConfigError names the one that is misspelled."""
    return {name: _read_flag(name, environ.get(name)) for name in FLAG_NAMES}


def _read_flag(name: str, text: str | None) -> bool:
    on = guards.read_switch(text)
    if on is None:
        raise ConfigError(f"{name}={text!r}: expected {guards.SPELLINGS}")
    return on


def get_v6_flag_snapshot() -> dict[str, bool]:
    """Return what environment and `.env` say at this moment."""
    return read_flags(environment.overlay(os.environ))


def log_flags(logger: logging.Logger, version: str, mode: str, flags: Mapping[str, bool]) -> None:
    """Log the one line that every process starts with."""
    states = " ".join(f"{name}={'on' if flags[name] else 'off'}" for name in FLAG_NAMES)
    logger.info("start engine_version=%r mode=%s %s", version, mode, states)
