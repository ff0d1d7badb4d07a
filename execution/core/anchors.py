"""What drawdown and day loss are measured from, and which NAV is believed. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from execution.core.policy import GlobalLimits
from execution.core.records import Anchors, Recorded
from execution.core.types import Book, Doubt


def doubt(before: Book, nav_usd: float, found: Recorded, limits: GlobalLimits) -> Doubt | None:
    """Return why a NAV is not believed yet: it is far from the last one, and has not stood so long.

    The first look after a start is compared with the day's start, so that no restart makes a peak
    or a day's start of an error; before there are anchors it is compared with nothing.
    """
    kept = _newest(before, found)
    if kept is None or _is_near(nav_usd, _expected_usd(before, kept, found), limits):
        return None
    standing = before.doubt
    if standing is None or not _is_near(nav_usd, standing.nav_usd, limits):
        return Doubt(nav_usd, found.steady_s)
    stood = found.steady_s - standing.since_s >= limits.nav_jump_confirm_s
    return None if stood else replace(standing, nav_usd=nav_usd)


def follow(
    before: Book, nav_usd: float, found: Recorded, limits: GlobalLimits, now: float
) -> tuple[Anchors | None, float | None]:
    """Return the anchors after a NAV that is believed, and from when a cooldown counts.

    Transfers shift them by their amount: what was lost or won in dollars stays what it was. The peak
    only rises, a later day begins once; a NAV that is not positive moves nothing.
    """
    kept = _newest(before, found)
    if not nav_usd > 0:
        return kept, before.cooling_from_s
    if kept is None:
        return Anchors(nav_usd, nav_usd, found.day, found.cash.transfers_usd), None
    after = _moved(before, kept, nav_usd, found)
    lost_pct = loss_pct(nav_usd - after.day_start_usd, after.day_start_usd)
    stopped = lost_pct >= limits.day_loss_limit_pct
    if stopped != kept.stopped:
        after = replace(after, stopped=stopped, stopped_ts=now)
    return after, None if stopped else _cooling_from_s(before, kept, found, now)


def _moved(before: Book, kept: Anchors, nav_usd: float, found: Recorded) -> Anchors:
    shift_usd = _shift_usd(kept, found)
    day_start_usd = kept.day_start_usd + shift_usd
    if found.day > kept.day:
        # A day that began while NAV was in doubt began with what was known then.
        doubted = before.doubt is not None
        day_start_usd = _expected_usd(before, kept, found) if doubted else nav_usd
    return replace(
        kept,
        peak_usd=max(nav_usd, kept.peak_usd + shift_usd),
        day_start_usd=day_start_usd,
        day=max(found.day, kept.day),
        transfers_usd=found.cash.transfers_usd,
    )


def _cooling_from_s(before: Book, kept: Anchors, found: Recorded, now: float) -> float | None:
    """Return when the last day-loss stop ended on the steady clock; None where there was none."""
    if kept.stopped:
        return found.steady_s
    if kept.stopped_ts is None:
        return None
    if before.cooling_from_s is None:  # a former process saw it, and only wall time tells when
        return found.steady_s - max(0.0, now - kept.stopped_ts)
    return before.cooling_from_s


def reset(book: Book, found: Recorded, max_age_s: float, now: float) -> Anchors | str:
    """Return anchors that begin with the present NAV, or say why it is not known well enough."""
    if book.doubt is not None:
        return (
            f"NAV is in doubt: {book.doubt.nav_usd:,.2f} USD is told, {book.nav_usd:,.2f} believed"
        )
    if not book.known or book.as_of_ts is None or book.anchors is None:
        return "NAV is not known"
    age_s = now - book.as_of_ts
    if book.stale or not abs(age_s) <= max_age_s:
        why = "" if book.blind_reason is None else f" ({book.blind_reason})"
        return f"NAV is stale: it is {age_s:.0f} s old{why}"
    if not book.nav_usd > 0:
        return f"NAV is {book.nav_usd:,.2f} USD: nothing can be measured from it"
    kept = book.anchors
    return Anchors(
        book.nav_usd,
        book.nav_usd,
        day=max(found.day, kept.day),
        transfers_usd=kept.transfers_usd,
        resets=kept.resets + 1,
    )


def loss_pct(pnl_usd: float, start_usd: float) -> float:
    """Return a loss in percent of what it began with; 0 for a gain, or where nothing began."""
    if not start_usd > 0:
        return 0.0
    lost_pct = -100 * pnl_usd / start_usd
    return 0.0 if lost_pct <= 0 else lost_pct  # and not max(): it would make 0 of what is no number


def _newest(before: Book, found: Recorded) -> Anchors | None:
    """Return the anchors in memory, or those of the ledger where a person has reset them since."""
    held, kept = before.anchors, found.anchors
    if held is None or (kept is not None and kept.resets > held.resets):
        return kept
    return held


def _expected_usd(before: Book, kept: Anchors, found: Recorded) -> float:
    """Return what NAV would be if nothing had happened but transfers since it was last believed."""
    return (before.nav_usd if before.known else kept.day_start_usd) + _shift_usd(kept, found)


def _shift_usd(kept: Anchors, found: Recorded) -> float:
    return float(found.cash.transfers_usd - kept.transfers_usd)


def _is_near(nav_usd: float, other_usd: float, limits: GlobalLimits) -> bool:
    return abs(nav_usd - other_usd) <= limits.nav_jump_pct / 100 * abs(other_usd)
