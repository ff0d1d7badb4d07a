"""Which suggestions the live router may take over: every gate, and what is left of a proposal.

Nothing that is missing opens a gate: no list is nobody, no quality is no, no allocator is cautious.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from execution.core.intel_terms import ApplyTerms, AutotuneTerms
from execution.core.policy import Policy
from execution.core.records import RoutePolicy
from execution.state_schema.intel_files import (
    AllocationSuggestions,
    RiskMode,
    RouterSuggestionRow,
    RouterSuggestions,
)

StateEvent = Literal[
    "router_apply_no_allocator_state",
    "router_apply_bad_allocator_state",
    "router_apply_stale_allocator_state",
]

# What rounding may add to a step of floats.
ROUNDING = 1e-9


class Ruling(Struct, frozen=True):
    """What became of one suggestion: the policy that was taken over, or None, and why."""

    row: RouterSuggestionRow
    applied: RoutePolicy | None
    reason: str


def risk_mode(
    found: AllocationSuggestions | None, *, readable: bool, now: float, terms: ApplyTerms
) -> tuple[RiskMode, StateEvent | None]:
    """Return the mode that the allocator's file vouches for, and what is wrong with the file.

    `found` None is a file that is not there, or with `readable` False one that is no such file.
    """
    if not readable:
        return "cautious", "router_apply_bad_allocator_state"
    if found is None or not found.enabled:
        return "cautious", "router_apply_no_allocator_state"
    # One from the future was written before the clock was set: it may be of any age.
    if not 0 <= now - found.generated_ts <= terms.allocator_max_age_s:
        return "cautious", "router_apply_stale_allocator_state"
    return found.book.risk_mode, None


def judge(
    row: RouterSuggestionRow,
    current: RoutePolicy,
    mode: RiskMode,
    terms: ApplyTerms,
    bounds: AutotuneTerms,
) -> Ruling:
    """Let one suggestion through every gate."""
    refusals = (*_gates(row, current, mode, terms), *_limits(row.proposed_policy, current, bounds))
    if refusals:
        return Ruling(row, None, refusals[0])
    wanted, held = row.proposed_policy, []
    if wanted.maker_first != current.maker_first and not (terms.maker_flip and mode == "normal"):
        wanted = replace(wanted, maker_first=current.maker_first)
        held.append("maker_first is kept: a flip is not allowed" + f" in {mode}" * terms.maker_flip)
    if wanted.taker_bias != current.taker_bias and mode != "normal":
        wanted = replace(wanted, taker_bias=current.taker_bias)
        held.append(f"taker_bias is kept in {mode}")
    if wanted == current:
        return Ruling(row, None, "; ".join(held) or "nothing changes")
    return Ruling(row, wanted, "; ".join(("applied", *held)))


def _gates(
    row: RouterSuggestionRow, current: RoutePolicy, mode: RiskMode, terms: ApplyTerms
) -> Iterator[str]:
    """Say why nothing at all may be taken over, whatever is proposed."""
    if row.symbol not in terms.symbols:
        yield "symbol is not in the allow-list"
    if mode == "defensive":
        yield "risk mode is defensive"
    if row.quality not in terms.qualities:
        yield f"quality {row.quality} is not enough"
    if row.current_policy != current:
        yield "the policy has changed since"


def _limits(wanted: RoutePolicy, current: RoutePolicy, bounds: AutotuneTerms) -> Iterator[str]:
    """Say why these numbers may not be the next policy."""
    offset_bps, bias = wanted.offset_bps, wanted.taker_bias
    if not (math.isfinite(offset_bps) and math.isfinite(bias)):
        yield "not a number"
    if offset_bps < 0:
        yield "the offset would cross the market"
    if not 0 <= bias <= 1:
        yield f"taker_bias {bias:g} is outside 0..1"
    if offset_bps != current.offset_bps and not _is_within(offset_bps, current.offset_bps, bounds):
        yield (
            f"offset {offset_bps:g} bps is outside "
            f"{bounds.offset_min_bps:g}..{bounds.offset_max_bps:g}"
        )
    if abs(offset_bps - current.offset_bps) > bounds.offset_step_bps + ROUNDING:
        yield f"the offset moves more than {bounds.offset_step_bps:g} bps"
    if abs(bias - current.taker_bias) > bounds.bias_step + ROUNDING:
        yield f"taker_bias moves more than {bounds.bias_step:g}"


def _is_within(offset_bps: float, now_bps: float, bounds: AutotuneTerms) -> bool:
    """Tell whether an offset is within its bounds, or on its way there from outside."""
    if bounds.offset_min_bps <= offset_bps <= bounds.offset_max_bps:
        return True
    return bounds.offset_max_bps < offset_bps < now_bps


def resume(
    found: RouterSuggestions | None,
    policy: Policy,
    now: float,
    terms: ApplyTerms,
    bounds: AutotuneTerms,
) -> Mapping[str, RoutePolicy]:
    """Return the tuned policies that a restart goes on with; none on any doubt.

    A symbol's own is dropped where it left the allow-list, or is no policy that steps from the
    configured one could have reached.
    """
    configured = policy.router.default
    if found is None or not found.enabled or found.configured != configured:
        return {}
    if not 0 <= now - found.written_ts <= terms.resume_within_s:
        return {}
    least = min(bounds.offset_min_bps, configured.offset_bps)
    most = max(bounds.offset_max_bps, configured.offset_bps)
    return {
        symbol: tuned
        for symbol, tuned in found.in_force.items()
        if symbol in terms.symbols
        and least <= tuned.offset_bps <= most
        and (terms.maker_flip or tuned.maker_first == configured.maker_first)
    }
