"""What must hold at every moment: the rules of order safety, checked against the truth.

The watch sees both sides. It hears from the wire what an executor asks for, from the exchange what
truly happens, and reads ledger and disk itself; it trusts no component to report its own mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from execution.core.orders import TERMINAL
from execution.core.policy import Policy
from execution.core.seam import ZERO, Blind, LegKey, NewOrder, Trade, VenueOrder
from execution.core.types import Approved, TickReport
from tests.simulation.disk import Disk, Durable
from tests.simulation.exchange import decision_of

if TYPE_CHECKING:
    from tests.simulation.world import Node, World

# Sums of floats, and nothing that anybody could trade.
SLACK = 1 + 1e-9


class Violation(AssertionError):
    """An invariant does not hold."""


class Watch:
    """The invariants of one seed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.first: Violation | None = None
        self._intents: dict[str, Durable] = {}
        self._disks: dict[str, Disk] = {}
        self._filled: dict[str, Decimal] = {}
        self._entered: dict[Disk, list[float]] = {}
        self._stepped_ts = -math.inf

    def broken(self, what: str) -> Violation:
        """Return the violation to be raised; the first one is kept, whoever swallows it."""
        found = Violation(f"{what} at {self._world.elapsed_s:.1f} s")
        self.first = self.first or found
        return found

    # ------------------------------------------------------------ what an executor asks for

    def requested(self, node: Node, order: NewOrder) -> None:
        """Check an order that is about to leave the process."""
        kept = node.disk.order(order.client_id)
        if kept is None:
            raise self.broken(f"{order.client_id} is sent and no durable PREP has it")
        same = (kept.symbol, kept.side, kept.position_side, kept.type, kept.qty, kept.state)
        if same != (
            order.symbol, order.side, order.position_side, order.type, order.qty, "PREP"
        ):  # fmt: skip
            raise self.broken(f"{order.client_id} is sent as {order}, its durable record is {same}")
        decision = decision_of(order.client_id)
        self._intents[decision] = kept
        self._disks[order.client_id] = node.disk
        self._check_earlier_attempts(node, order, decision)
        if node.is_killed and kept.action != "flatten":
            raise self.broken(f"{order.client_id} ({kept.action}) is sent while killed")
        if kept.action == "entry":
            self._check_entry(node, order)
        elif not (order.reduce_only or order.close_position):
            raise self.broken(f"{order.client_id} ({kept.action}) is not reduce-only")

    def _check_earlier_attempts(self, node: Node, order: NewOrder, decision: str) -> None:
        rows = node.ledger._db.execute(
            "SELECT client_id, state, filled_qty FROM orders WHERE decision_id = ?", (decision,)
        )
        for client_id, state, filled in rows:
            if client_id == order.client_id:
                continue
            if state not in TERMINAL:
                raise self.broken(f"{order.client_id} is sent while {client_id} is {state}")
            true_qty = sum((o.filled_qty for o in self._world.exchange.of(client_id)), ZERO)
            if Decimal(filled) != true_qty:
                raise self.broken(
                    f"{order.client_id} is sent while {client_id} filled {true_qty}, ledger {filled}"
                )

    def _check_entry(self, node: Node, order: NewOrder) -> None:
        seen, line, limits = node.line.seen, node.line, node.policy.limits.freshness
        if seen is None or isinstance(seen, Blind):
            raise self.broken(f"entry {order.client_id} is sent while blind")
        ages = {
            "reconciliation": (line.tick_ts - node.clean_ts, limits.reconciliation_max_age_s),
            "market": (line.tick_ts - seen.quotes[order.symbol].ts, limits.market_max_age_s),
        }
        for held in seen.account.positions:
            age_s = line.tick_ts - seen.quotes[held.symbol].ts
            ages[f"mark of {held.symbol}, so NAV,"] = (age_s, limits.nav_max_age_s)
        for name, (age_s, limit_s) in ages.items():
            if age_s > limit_s:
                raise self.broken(
                    f"entry {order.client_id}: {name} is {age_s:.1f} s old, limit {limit_s:g} s"
                )
        for other in node.ledger.open_orders():
            doubtful = other.state in ("UNKNOWN", "PREP") and other.client_id != order.client_id
            if doubtful and other.symbol == order.symbol:
                raise self.broken(f"entry {order.client_id} while {other.client_id} is unknown")
        shown = {(p.symbol, p.position_side): p.qty for p in seen.account.positions}
        for side in ("LONG", "SHORT", "BOTH"):
            leg = node.ledger.legs().get((order.symbol, side))
            here, there = ZERO if leg is None else leg.qty, shown.get((order.symbol, side), ZERO)
            if here != there:
                raise self.broken(
                    f"entry {order.client_id} while {order.symbol} {side} is {there}, ledger {here}"
                )
        if node.state.recorded.low_disk and node.disk.is_low:
            raise self.broken(f"entry {order.client_id} while the disk is low")

    def canceled(self, client_id: str) -> None:
        """Check a cancel that is about to leave the process."""
        if not decision_of(client_id):
            raise self.broken(f"{client_id} is somebody else's and is canceled")

    # ------------------------------------------------------------ what truly happens

    def accepted(self, order: NewOrder, before: tuple[VenueOrder, ...]) -> None:
        """Check an order that the exchange takes."""
        decision = decision_of(order.client_id)
        if not decision:
            return
        self._world.counts["orders"] += 1
        for earlier in before:
            if earlier.client_id == order.client_id:
                raise self.broken(f"{order.client_id} is accepted twice")
            if earlier.state in ("LIVE", "PARTIAL"):
                raise self.broken(f"{order.client_id} and {earlier.client_id} are both live")
        disk = self._disks.get(order.client_id)
        kept = None if disk is None else disk.order(order.client_id)
        if kept is not None and kept.state in TERMINAL:
            raise self.broken(f"{order.client_id} is accepted, and {kept.state} in the ledger")
        intent = self._intents.get(decision)
        if intent is not None and intent.action == "entry":
            in_all = order.qty + sum((o.filled_qty for o in before), ZERO)
            if in_all > intent.intended_qty:
                raise self.broken(
                    f"{order.client_id}: {in_all} in all, {intent.intended_qty} was approved"
                )

    def filled(self, order: VenueOrder, trade: Trade) -> None:
        """Check an execution."""
        decision = decision_of(order.client_id)
        if not decision:
            return
        self._world.counts["fills"] += 1
        self._world.tell(f"fill {order.client_id} {trade.trade_id} {trade.qty} at {trade.price}")
        filled = self._filled.get(decision, ZERO) + trade.qty
        self._filled[decision] = filled
        intent = self._intents.get(decision)
        if intent is not None and intent.action == "entry" and filled > intent.intended_qty:
            raise self.broken(f"{order.client_id}: {filled} filled, {intent.intended_qty} approved")

    def crossed(self, order: VenueOrder | NewOrder) -> None:
        """Check an execution against more than its leg holds: nobody here may do that."""
        raise self.broken(f"{order.client_id} crosses zero")

    # ------------------------------------------------------------ limits

    def ticked(self, node: Node, report: TickReport) -> None:
        """Check that this tick's approvals fit, by the ledger's book and by the exchange's."""
        verdicts = (decision.verdict for decision in report.live.decisions)
        approvals = [v for v in verdicts if isinstance(v, Approved) and not v.intent.reduce_only]
        if not approvals:
            return
        self._world.counts["entries"] += len(approvals)
        marks = {symbol: quote.mark for symbol, quote in report.state.quotes.items()}
        nav = report.state.book.nav_usd
        self._fits("ledger", self._booked(report, approvals), marks, nav, approvals, node.policy)
        self._fits("exchange", self._true(), marks, nav, approvals, node.policy)
        self._check_rates(node, approvals)

    def stepped(self) -> None:
        """Hear that the wall clock was set: whoever starts after it cannot know what was before."""
        self._stepped_ts = self._world.exchange.now

    def _check_rates(self, node: Node, approvals: list[Approved]) -> None:
        """Count what one ledger's executors entered, by true time and through their restarts."""
        now, book = self._world.exchange.now, node.policy.limits.book
        known = node.ledger.routes()  # what the disk did not take was not entered
        since_ts = self._stepped_ts if node.started_ts > self._stepped_ts else -math.inf
        entered = self._entered.setdefault(node.disk, [])
        entered += [node.began_ts for each in approvals if each.intent.decision_id in known]
        for limit, length_s in ((book.entries_per_second, 1.0), (book.entries_per_minute, 60.0)):
            recent = sum(ts > max(now - length_s, since_ts) for ts in entered)
            if recent > limit:
                raise self.broken(f"{recent} entries within {length_s:g} s, limit {limit}")

    def _booked(self, report: TickReport, approvals: list[Approved]) -> dict[LegKey, Decimal]:
        """Add up the ledger's legs, routes in flight and this tick's approvals."""
        recorded = report.state.recorded
        found = {key: abs(leg.qty) for key, leg in recorded.legs.items()}
        add = _adder(found)
        for route in recorded.routes.values():
            if not route.reduce_only:
                add((route.symbol, route.position_side), max(ZERO, route.qty - route.filled_qty))
        for order in recorded.open_orders:
            opens = not (order.reduce_only or order.close_position)
            if opens and order.decision_id not in recorded.routes:
                add((order.symbol, order.position_side), order.qty - order.filled_qty)
        for approved in approvals:
            add((approved.intent.symbol, approved.intent.position_side), approved.qty)
        return found

    def _true(self) -> dict[LegKey, Decimal]:
        """Add up the exchange's legs, its open orders and what is under way to it."""
        exchange = self._world.exchange
        found = {key: abs(leg.qty) for key, leg in exchange.legs.items()}
        add = _adder(found)
        under_way = [x.content for x in exchange.letters if isinstance(x.content, NewOrder)]
        for order in (*exchange.open.values(), *under_way):
            if not (order.reduce_only or order.close_position):
                done = order.filled_qty if isinstance(order, VenueOrder) else ZERO
                add((order.symbol, order.position_side), order.qty - done)
        return found

    def _fits(
        self,
        whose: str,
        legs: dict[LegKey, Decimal],
        marks: dict[str, float],
        nav: float,
        approvals: Iterable[Approved],
        policy: Policy,
    ) -> None:
        book = policy.limits.book
        usd = {key: float(qty) * marks[key[0]] for key, qty in legs.items() if qty}
        measured = {
            "gross": (sum(usd.values()), book.gross_cap_pct / 100 * nav),
            "legs": (len(usd), book.max_concurrent),
        }
        for approved in approvals:
            symbol = approved.intent.symbol
            order_usd = float(approved.qty) * marks[symbol]
            measured[f"order in {symbol}"] = (order_usd, book.trade_cap_pct / 100 * nav)
            in_symbol = sum(worth for key, worth in usd.items() if key[0] == symbol)
            measured[symbol] = (in_symbol, book.symbol_cap_pct / 100 * nav)
        for name, (observed, limit) in measured.items():
            if observed > limit * SLACK:
                raise self.broken(f"{name} is {observed:.2f}, limit {limit:.2f}, by the {whose}")


def _adder(found: dict[LegKey, Decimal]):
    def add(key: LegKey, qty: Decimal) -> None:
        found[key] = found.get(key, ZERO) + qty

    return add
