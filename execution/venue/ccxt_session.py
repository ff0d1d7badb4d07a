"""One exchange as a partner: every request is weighed, timed, dated and judged here.

Reads raise VenueUnavailable where no answer can be believed; a refusal is a value, for whoever asked.
"""

from __future__ import annotations

import logging
import math
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.core.seam import VenueHealth
from execution.errors import VenueUnavailable
from execution.venue.ccxt_errors import Doubt, Refusal, judge
from execution.venue.ccxt_limits import Limits, Urgency
from execution.venue.ccxt_replies import ServerTime
from execution.venue.ccxt_wire import Params, Reply, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")

# The exchange's clock is measured again after so long, or where the measurement was a slow one.
CLOCK_EVERY_S: Final = 300.0
CLOCK_SOON_S: Final = 10.0
SLOW_S: Final = 1.0
# A ban ends by the exchange's clock, which may not be known, or have moved against ours, by this much.
BAN_MARGIN_S: Final = 7.0
# The two local clocks apart by more: somebody set the wall's.
STEP_S: Final = 0.25


class Endpoint(Struct, frozen=True):
    """One of the exchange's endpoints, by ccxt's name, with the weight of a request."""

    name: str
    weight: int
    signed: bool = False


TIME: Final = Endpoint("fapiPublicGetTime", 1)


class Session:
    """Requests to one exchange within one process; a round of the loop begins with `begin`."""

    def __init__(
        self, wire: Wire, limits: Limits, clock: Clock, call_s: float, round_s: float
    ) -> None:
        self.limits = limits
        self.offset_ms: float | None = None
        self._wire = wire
        self._clock = clock
        self._call_s = call_s
        self._round_s = round_s
        self._spent_s = 0.0
        self._clock_due_s = -math.inf
        self._apart_s = 0.0
        self._decoders: dict[object, msgspec.json.Decoder[object]] = {}

    def begin(self) -> None:
        """Begin a round: its questions together may take `round_s`."""
        self._spent_s = 0.0

    def now(self) -> float:
        """Return the exchange's time in epoch seconds, as far as it is known."""
        return self._clock.now() + self.offset_s

    @property
    def offset_s(self) -> float:
        """Return how far the exchange's clock is ahead, as far as it is known."""
        return (self.offset_ms or 0.0) / 1000

    def health(self) -> VenueHealth:
        """Report the connection's own figures."""
        until_ts = self.limits.banned_until_ts
        return VenueHealth(
            clock_offset_ms=self.offset_ms,
            weight_used_1m=float(self.limits.used_1m),
            banned_until_ts=until_ts if self.limits.is_banned(self.now()) else None,
        )

    def close(self) -> None:
        """Let go of the sockets."""
        self._wire.close()

    # ------------------------------------------------------------ questions

    def read(
        self,
        endpoint: Endpoint,
        shape: type[T],
        params: Params | None = None,
        *,
        weight: int | None = None,
        urgency: Urgency = "routine",
    ) -> T:
        """Ask once what is never refused. Raises VenueUnavailable: no answer that can be believed."""
        answer = self.ask(endpoint, shape, params, weight=weight, urgency=urgency)
        if isinstance(answer, Refusal):
            raise VenueUnavailable(f"{endpoint.name}: {answer.code} {answer.reason}")
        return answer

    def ask(
        self,
        endpoint: Endpoint,
        shape: type[T],
        params: Params | None = None,
        *,
        weight: int | None = None,
        urgency: Urgency = "routine",
    ) -> T | Refusal:
        """Ask once. Raises VenueUnavailable: no answer, one in doubt, or no leave to ask."""
        if endpoint.signed:
            self.mind_the_clock()
            params = {**(params or {}), "timestamp": self._stamp(self._clock.now())}
        weighs = endpoint.weight if weight is None else weight
        held = self._held(weighs, urgency)
        if held is not None:
            raise VenueUnavailable(f"{endpoint.name}: {held}")
        left_s = self._round_s - self._spent_s
        if left_s <= 0:
            raise VenueUnavailable(f"{endpoint.name}: the round's {self._round_s:g} s are over")
        answer = self._ask(endpoint, shape, params or {}, weighs, min(self._call_s, left_s))
        if isinstance(answer, Doubt):
            raise VenueUnavailable(answer.reason)
        if isinstance(answer, Refusal) and answer.meaning in ("banned", "clock"):
            raise VenueUnavailable(f"{endpoint.name}: {answer.code} {answer.reason}")
        return answer

    # ------------------------------------------------------------ orders and settings

    def send(
        self,
        endpoint: Endpoint,
        shape: type[T],
        params: Params,
        *,
        signed_ts: float | None = None,
    ) -> T | Refusal | Doubt:
        """Send once. What is not sent at all is a refusal with a code that is a word.

        `signed_ts` is the local moment that the exchange's receive window counts from, else now.
        """
        try:
            self.mind_the_clock()
        except VenueUnavailable as error:
            return Refusal("not_sent", str(error), "refused")
        held = self._held(endpoint.weight, "order")
        if held is None and self._spent_s >= self._round_s:
            held = f"the round's {self._round_s:g} s are over"
        if held is not None:
            return Refusal("not_sent", held, "refused")
        stamp = self._stamp(self._clock.now() if signed_ts is None else signed_ts)
        params = {**params, "timestamp": stamp}
        return self._ask(endpoint, shape, params, endpoint.weight, self._call_s)

    # ------------------------------------------------------------ one request

    def _held(self, weight: int, urgency: Urgency) -> str | None:
        """Say why nothing may be asked now."""
        if self.limits.is_banned(self.now()):
            return f"banned until {self.limits.banned_until_ts:.0f}"
        if not self.limits.has_room(weight, urgency):
            return f"weight {self.limits.used_1m} of {self.limits.limit_1m} is used"
        return None

    def _ask(
        self, endpoint: Endpoint, shape: type[T], params: Params, weight: int, deadline_s: float
    ) -> T | Refusal | Doubt:
        self.limits.spend(weight)
        begun_s = self._clock.monotonic()
        answer = self._wire.call(endpoint.name, params, deadline_s)
        self._spent_s += self._clock.monotonic() - begun_s
        if isinstance(answer, Reply):
            self.limits.hear(answer.headers)
        judged = judge(answer, self._decoder(shape), self.now())
        if isinstance(judged, Refusal):
            self._mind_refusal(endpoint, judged)
        return judged

    def _mind_refusal(self, endpoint: Endpoint, refusal: Refusal) -> None:
        if refusal.until_ts is not None:
            until_ts = refusal.until_ts + BAN_MARGIN_S
            self.limits.ban(until_ts, self.now(), f"{refusal.code} {refusal.reason}")
        elif refusal.meaning == "clock":
            log.warning("%s: %s: the clock is measured anew", endpoint.name, refusal.code)
            self._clock_due_s = -math.inf

    def _decoder(self, shape: type[T]) -> msgspec.json.Decoder[T]:
        decoder = self._decoders.get(shape)
        if decoder is None:
            decoder = self._decoders[shape] = msgspec.json.Decoder(shape)
        return decoder  # type: ignore[return-value]  # kept by its shape

    # ------------------------------------------------------------ the exchange's clock

    def _stamp(self, local_ts: float) -> int:
        return round((local_ts + self.offset_s) * 1000)

    def mind_the_clock(self) -> None:
        """Measure the exchange's clock where it is due. Raises VenueUnavailable while it is unknown.

        It is unknown until it was measured, after a refusal, and after a step of the wall's clock.
        """
        before, now_s = self._clock.now(), self._clock.monotonic()
        is_known = (
            math.isfinite(self._clock_due_s) and abs(before - now_s - self._apart_s) <= STEP_S
        )
        if is_known and now_s < self._clock_due_s:
            return
        try:
            told = self.read(TIME, ServerTime, urgency="order")
        except VenueUnavailable:
            if not is_known:
                raise
            self._clock_due_s = now_s + CLOCK_SOON_S
            return
        took_s = self._clock.monotonic() - now_s
        self._apart_s = before - now_s
        self.offset_ms = told.server_time - (before + took_s / 2) * 1000
        self._clock_due_s = now_s + (CLOCK_EVERY_S if took_s < SLOW_S else CLOCK_SOON_S)
        log.info("clock offset_ms=%.0f measured_in_ms=%.0f", self.offset_ms, took_s * 1000)
