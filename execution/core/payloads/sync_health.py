"""What sync_state found in the files of the others, and what it did with it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from execution.core import exposures
from execution.core.payloads.run import ServiceInfo
from execution.state_schema.cycle_journals import SyncHeartbeat
from execution.state_schema.files import Exposures, NavSeries, Synced, SyncHealth


class Found(Struct, frozen=True):
    """One look at the local files; `problems` is what is wrong with them now.

    `nav_usd` is None while it is unknown; `lag_s` is how old the positions are.
    """

    nav_usd: float | None = None
    lag_s: float | None = None
    exposures: Exposures | None = None
    nav_series: NavSeries | None = None
    problems: tuple[str, ...] = ()


class Mirror(Struct, frozen=True):
    """The remote copy: whether it is written, why not, and how that goes."""

    enabled: bool
    disabled_reason: str | None
    target: str | None = None
    last_success_ts: float | None = None
    writes: int = 0
    skipped_unchanged: int = 0
    failures: int = 0
    last_error: str | None = None


def positions_found(synced: Synced, max_age_s: float, now: float) -> Found:
    """Assess the executor's positions: its last good ones while it is blind, none when it is gone."""
    age_s = now - synced.updated_at
    lag_s = None if synced.as_of_ts is None else max(0.0, now - synced.as_of_ts)
    problems = tuple(_doubts(synced, age_s, max_age_s, lag_s))
    if not synced.known or abs(age_s) > max_age_s:
        return Found(lag_s=lag_s, problems=problems)
    nav_usd = synced.nav if synced.nav != 0 else None
    assessed = exposures.assess(synced.items, nav_usd)
    if assessed is None:
        problems = (*problems, "positions: the notional of a leg is unknown")
    return Found(nav_usd, lag_s, assessed, problems=problems)


def build(service: ServiceInfo, found: Found, mirror: Mirror, now: float) -> SyncHealth:
    """Build `state/sync_health.json`; `last_error` is what is wrong now."""
    wrong = [*found.problems, *filter(None, [mirror.last_error])]
    return SyncHealth(
        engine_version=service.engine_version,
        v6_flags=service.flags,
        updated_ts=now,
        enabled=mirror.enabled,
        disabled_reason=mirror.disabled_reason,
        target=mirror.target,
        last_success_ts=mirror.last_success_ts,
        writes=mirror.writes,
        skipped_unchanged=mirror.skipped_unchanged,
        failures=mirror.failures,
        last_error="; ".join(wrong) or None,
        lag_s=found.lag_s,
        exposures=found.exposures,
        nav_series=found.nav_series,
    )


def heartbeat(service: ServiceInfo, found: Found, mirror: Mirror, now: float) -> SyncHeartbeat:
    """Build the journal's record of one cycle."""
    assessed = found.exposures
    return SyncHeartbeat(
        ts=now,
        run_id=service.run_id,
        enabled=mirror.enabled,
        disabled_reason=mirror.disabled_reason,
        writes=mirror.writes,
        skipped_unchanged=mirror.skipped_unchanged,
        failures=mirror.failures,
        lag_s=found.lag_s,
        nav_usd=found.nav_usd,
        gross_usd=None if assessed is None else assessed.gross_usd,
        net_usd=None if assessed is None else assessed.net_usd,
    )


def _doubts(synced: Synced, age_s: float, max_age_s: float, lag_s: float | None) -> Iterator[str]:
    if age_s < -max_age_s:
        yield f"positions: dated {-age_s:.0f} s ahead of the clock"
    if age_s > max_age_s:
        yield f"positions: the executor has not written them for {age_s:.0f} s"
    if not synced.known:
        yield "positions: the venue has not been read yet"
    elif synced.stale:
        yield "positions: stale" if lag_s is None else f"positions: stale, {lag_s:.0f} s old"
