"""Any story of a desk and an unreliable venue: what must hold in it, and at its end."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from execution.core.seam import ZERO, Ambiguous, NewOrder, Rejected
from execution.core.types import RoutePlan, TradingState
from tests.support import builders
from tests.support.rig import Rig

LONG = ("BTCUSDT", "LONG")
STATES = {
    "ACTIVE": builders.ACTIVE,
    "REDUCING": TradingState("REDUCING", ("day_loss_limit",)),
    "HALTED": TradingState("HALTED", ("kill_switch",)),
}
PICK = st.integers(min_value=0, max_value=20)


class DeskStory(RuleBasedStateMachine):
    """Entries, exits and stops, lost requests, lost and late replies, refusals, silence, kills."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.rig = Rig(Path(self.folder.name) / "paper-main.sqlite", durable=False)
        self.rig.venue.watch = self.check_order
        self.approved: dict[str, Decimal] = {}
        self.trading = "ACTIVE"
        self.shown_ts = 0.0
        self.tick()

    def tick(self, *plans: RoutePlan, dt: float = 1.0) -> None:
        venue = self.rig.venue
        if self.rig.clock.now() >= self.shown_ts:
            venue.hidden.clear()
        before = set(venue.orders)
        self.rig.tick(live=builders.decided(*plans, trading=STATES[self.trading]), dt=dt)
        if self.shown_ts > self.rig.clock.now() and venue.lost:
            venue.hidden |= set(venue.orders) - before

    # ------------------------------------------------------------ what happens

    @rule(dt=st.sampled_from([1.0, 5.0, 60.0]))
    def time_passes(self, dt: float) -> None:
        self.tick(dt=dt)

    @precondition(lambda self: self.trading == "ACTIVE" and not self.doubtful())
    @rule(qty=st.integers(min_value=1, max_value=5))
    def an_entry_is_approved(self, qty: int) -> None:
        name = f"d{len(self.approved) + 1}"
        self.approved[name] = Decimal(qty)
        self.tick(builders.plan(builders.intent(str(qty), name)))

    @precondition(lambda self: self.trading == "ACTIVE" and self.approved)
    @rule(pick=PICK)
    def a_restart_that_forgot_approves_an_entry_again(self, pick: int) -> None:
        name = sorted(self.approved)[pick % len(self.approved)]
        if name not in self.rig.ledger.routes():  # else risk vetoes it: duplicate_intent
            self.tick(builders.plan(builders.intent(str(self.approved[name]), name)))

    @precondition(lambda self: self.trading != "HALTED" and LONG in self.rig.ledger.legs())
    @rule(action=st.sampled_from(["exit", "protect"]), maker=st.booleans())
    def the_leg_is_to_be_left(self, action: str, maker: bool) -> None:
        leg = self.rig.ledger.legs()[LONG]
        name = f"{action}-{leg.position_id}"
        if name in self.rig.ledger.routes():
            return  # risk vetoes it: duplicate_intent
        wanted = builders.leaving(str(leg.qty), name, action=action, position_id=leg.position_id)
        legs = (builders.MAKER, builders.TAKER) if maker else (builders.TAKER,)
        self.tick(
            builders.plan(wanted, *(legs if action == "exit" else (builders.STOP,)), retry_s=2.0)
        )

    @rule(name=st.sampled_from(["ACTIVE", "ACTIVE", "REDUCING", "HALTED"]))
    def trading_changes(self, name: str) -> None:
        self.trading = name
        self.tick()

    @rule(pick=PICK, part=st.booleans())
    def an_order_is_executed(self, pick: int, part: bool) -> None:
        open_ids = self.rig.venue.open_ids()
        if open_ids:
            self.execute(open_ids[pick % len(open_ids)], part=part)
        self.tick()

    @rule(pick=PICK)
    def an_order_ends_by_itself(self, pick: int) -> None:
        open_ids = self.rig.venue.open_ids()
        if open_ids:
            self.rig.venue.end(open_ids[pick % len(open_ids)], "EXPIRED")
        self.tick()

    @rule(arrives=st.booleans(), lag_s=st.sampled_from([0.0, 12.0]))
    def the_next_answer_is_lost(self, arrives: bool, lag_s: float) -> None:
        self.rig.venue.answers.clear()
        self.rig.venue.answers.append(Ambiguous("connection reset"))
        self.rig.venue.lost = arrives
        self.shown_ts = self.rig.clock.now() + lag_s
        self.tick()

    @rule(code=st.sampled_from(["-5022", "-2021"]))
    def the_next_order_is_refused(self, code: str) -> None:
        self.rig.venue.answers.clear()
        self.rig.venue.answers.append(Rejected(code, "refused"))

    @rule(what=st.sampled_from(["observe", "trades", "find_order", "cash", "cancel"]))
    def a_question_goes_unanswered_or_is_answered_again(self, what: str) -> None:
        self.rig.venue.mute ^= {what}
        self.tick()

    @rule(down_s=st.sampled_from([0.0, 30.0, 4000.0]))
    def the_process_is_killed_and_started_again(self, down_s: float) -> None:
        sent = len(self.rig.venue.sent)
        self.rig = self.rig.restart(down_s)
        self.tick()
        assert len(self.rig.venue.sent) == sent

    @rule(amount=st.sampled_from(["-0.123", "7.5"]))
    def funding_is_paid(self, amount: str) -> None:
        self.rig.venue.pay(f"f{len(self.rig.venue.rows)}", amount)
        self.tick()

    # ------------------------------------------------------------ what always holds

    def check_order(self, order: NewOrder) -> None:
        """Look at an order in the moment in which the venue hears of it."""
        other = sqlite3.connect(self.rig.path)
        found = other.execute(
            "SELECT state FROM orders WHERE client_id = ?", (order.client_id,)
        ).fetchall()
        other.close()
        assert found == [("PREP",)]
        assert "observe" not in self.rig.venue.mute
        assert self.trading == "ACTIVE" or (self.trading == "REDUCING" and order.reduce_only)
        decision = order.client_id.rsplit("-", 1)[0]
        open_ids = self.rig.venue.open_ids()
        assert [name for name in open_ids if name.rsplit("-", 1)[0] == decision] == []

    @invariant()
    def every_attempt_was_sent_once(self) -> None:
        sent = Counter(order.client_id for order in self.rig.venue.sent)
        assert set(sent.values()) <= {1}

    @invariant()
    def no_entry_buys_more_than_was_approved(self) -> None:
        for name, qty in self.approved.items():
            trades = self.rig.venue.done
            bought = sum((t.qty for t in trades if t.client_id.startswith(f"hgp-{name}-")), ZERO)
            assert bought <= qty

    @invariant()
    def the_ledger_has_no_fill_that_the_venue_has_not(self) -> None:
        theirs = Counter(trade.trade_id for trade in self.rig.venue.done)
        ours = Counter(row[0] for row in self.rig.ledger._db.execute("SELECT trade_id FROM fills"))
        assert ours <= theirs

    # ------------------------------------------------------------ how it ends

    def teardown(self) -> None:
        venue = self.rig.venue
        venue.answers.clear()
        venue.mute.clear()
        self.trading = "ACTIVE"
        for _ in range(60):
            for name in venue.open_ids():
                if venue.orders[name].type == "MARKET":
                    self.execute(name, part=False)
            self.tick(dt=10.0)
        states = set(self.rig.orders.values())
        assert states <= {"LIVE", "PARTIAL"}
        assert sorted(self.rig.orders) == sorted(venue.open_ids())
        assert Decimal(self.rig.held()) == venue.held.get(LONG, ZERO)
        assert self.rig.ledger.cash.wallet_usd == venue.wallet
        assert self.rig.recorded.halts == {}
        self.every_open_stop_is_of_the_present_position()
        self.rig.ledger.close()
        self.folder.cleanup()

    def every_open_stop_is_of_the_present_position(self) -> None:
        leg, routes = self.rig.ledger.legs().get(LONG), self.rig.ledger.routes()
        for order in self.rig.ledger.open_orders():
            assert order.close_position
            assert leg is not None
            assert routes[order.decision_id].position_id == leg.position_id

    # ------------------------------------------------------------ parts

    def doubtful(self) -> bool:
        return any(state in {"PREP", "UNKNOWN"} for state in self.rig.orders.values())

    def execute(self, name: str, *, part: bool) -> None:
        """Fill an order as an exchange would: what reduces never takes more than there is."""
        venue = self.rig.venue
        order = venue.orders[name]
        amount = order.qty - order.filled_qty
        if order.side == "SELL":
            amount = min(amount, venue.held.get(LONG, ZERO))
            if amount == 0:
                venue.end(name, "EXPIRED")
                return
        venue.fill(name, str(amount / 2 if part else amount))
        if order.side == "SELL" and venue.orders[name].state == "PARTIAL" and not part:
            venue.end(name, "EXPIRED")


DeskStory.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
test_any_story_of_the_desk = DeskStory.TestCase
