"""What people and exchanges do to an account, through the production tick at the exchange over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import Blind
from tests.exchange.faults import ACCOUNT, FIND, POSITIONS, SUBMIT, Fault
from tests.exchange.trading import Killed, Trading, trading

TICK_S = 8.0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Trading]:
    with trading(monkeypatch, tmp_path, hold_bars=1000) as opened:
        opened.look(1.0)
        yield opened


def until(made: Trading, what: str, met, ticks: int = 120) -> None:
    for _ in range(ticks):
        if met():
            return
        made.look(TICK_S)
    raise AssertionError(f"not within {ticks} ticks: {what}")


def hold(made: Trading) -> dict[tuple[str, str], Decimal]:
    """Trade until something is held and nothing is being worked there; return what is."""
    until(made, "a position", lambda: len(made.accounts.venue_legs()) >= 2)
    return made.accounts.venue_legs()


def state_of(made: Trading, client_id: str) -> str:
    return next(row["state"] for row in made.accounts.orders() if row["client_id"] == client_id)


def client_ids(made: Trading) -> set[str]:
    return set(made.exchange.posts())


# ---------------------------------------------------------------- a process that dies


def test_an_order_that_was_taken_before_the_process_died_is_found_again(made: Trading) -> None:
    made.exchange.suffer(Fault(kind="lost", on=(SUBMIT,), times=1))
    made.die_at_the_next_order()
    with pytest.raises(Killed):
        until(made, "an order", lambda: False)
    taken = made.exchange.truth["orders"][-1]["client_id"]
    assert state_of(made, taken) == "PREP"
    made.restart(after_s=2.0)
    made.calm()
    assert state_of(made, taken) in ("LIVE", "PARTIAL", "FILLED", "CANCELED")


def test_a_close_by_hand_while_it_is_down_is_an_event_and_no_order(made: Trading) -> None:
    legs = hold(made)
    symbol, side = min(legs)
    made.engine.close()
    made.exchange.ask("close", symbol=symbol)
    before = client_ids(made)
    made.clock.step(20.0)
    made._begin()
    made.look(1.0)
    made.look(1.0)
    assert (symbol, side) not in made.accounts.ledger_legs()
    reduced = [o for o in made.heard.sent if o.symbol == symbol and o.reduce_only]
    assert reduced == []
    assert made.engine.state.recorded.halts == {}
    sent = [o for o in made.exchange.truth["orders"] if o["client_id"] not in before]
    assert any(o["client_id"].startswith("web_") for o in sent)
    made.calm()


# ---------------------------------------------------------------- somebody else's orders


def test_somebody_elses_order_is_adopted_shown_and_left_alone(made: Trading) -> None:
    mark = made.exchange.truth["marks"]["BTCUSDT"]
    order = made.exchange.ask(
        "order",
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        qty="0.01",
        price=f"{mark * 0.96:.1f}",
    )

    def adopted() -> list[dict]:
        rows = made.accounts.of_ledger('SELECT * FROM orders WHERE "foreign"')
        return [row for row in rows if row["client_id"] == order["client_id"]]

    until(made, "it is adopted", adopted)
    hold(made)
    shown = {o.client_id for o in made.engine.state.recorded.open_orders}
    assert order["client_id"] in shown
    made.engine.desk.stand_down()
    (left,) = [o for o in made.exchange.truth["orders"] if o["client_id"] == order["client_id"]]
    assert left["state"] == "LIVE"
    assert not any(
        r["method"] == "DELETE" and r["client_id"] == order["client_id"]
        for r in made.exchange.requests
    )
    made.calm()


# ---------------------------------------------------------------- listings that change


def test_a_tick_that_grows_while_it_trades_is_learnt_from_the_refusal(made: Trading) -> None:
    symbols = sorted(made.engine.state.rules)
    hold(made)
    for symbol in symbols:
        tick = made.engine.state.rules[symbol].tick_size
        made.exchange.ask("relist", symbol=symbol, tick_size=str(tick * 4))
    new = {symbol: made.engine.state.rules[symbol].tick_size * 4 for symbol in symbols}
    before = client_ids(made)

    def priced() -> list[dict]:
        orders = made.exchange.truth["orders"]
        return [o for o in orders if o["client_id"] not in before and o["price"] is not None]

    def learnt() -> bool:
        return {symbol: rules.tick_size for symbol, rules in made.engine.state.rules.items()} == new

    until(made, "the new tick is known", learnt)
    known_from = len(made.heard.sent)
    until(made, "orders on the new tick", lambda: len(priced()) >= 3, ticks=200)
    assert all(Decimal(o["price"]) % new[o["symbol"]] == 0 for o in priced())
    refused = [row for row in made.accounts.orders() if row["state"] == "REJECTED"]
    assert {row["code"] for row in refused} <= {"-1111", "-4014"}
    late = {order.client_id for order in made.heard.sent[known_from:]}
    assert not late & {row["client_id"] for row in refused}
    made.calm()


def test_a_delisted_symbol_is_settled_and_trading_goes_on(made: Trading) -> None:
    legs = hold(made)
    symbol, _ = min(legs)
    made.exchange.ask("delist", symbol=symbol, status="SETTLING")
    before = client_ids(made)
    until(made, "it is settled", lambda: symbol not in {s for s, _ in made.accounts.ledger_legs()})
    names = [row["client_id"] for row in made.accounts.fills() if row["symbol"] == symbol]
    assert any(name.startswith("settlement_autoclose-") for name in names)
    # Its rules are read every few minutes, or when an order is refused for them.
    made.exchange.ask("status", **{symbol: "GONE"})
    for _ in range(30):
        made.look(20.0)
    assert not isinstance(made.report.seen, Blind)
    rules = made.engine.state.rules.get(symbol)
    assert rules is None or not rules.trading
    taken = [o for o in made.exchange.truth["orders"] if o["client_id"] not in before]
    assert symbol not in {o["symbol"] for o in taken if o["client_id"].startswith("hg")}
    assert any(o["client_id"].startswith("hg") for o in taken)
    made.calm()


def test_a_liquidation_leaves_two_equal_books_and_no_entries(made: Trading) -> None:
    hold(made)
    mark = made.exchange.truth["marks"]["BTCUSDT"]
    # The owner's own bet is what cannot be kept; with cross margin it takes everything along.
    bet = made.exchange.ask(
        "order",
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        qty=f"{300_000 / mark:.3f}",
    )
    assert not bet["refused"], bet
    made.look(TICK_S)
    made.exchange.ask("move", symbol="BTCUSDT", factor=0.6)
    assert made.exchange.truth["legs"] == {}
    made.look(TICK_S)
    made.look(TICK_S)
    names = {row["client_id"] for row in made.accounts.fills()}
    assert any(name.startswith("autoclose-") for name in names)
    assert made.accounts.ledger_legs() == {}
    before = len(made.heard.entries)
    made.calm()
    # So large a loss is not believed at once: until it is, no entry stands on the last good NAV.
    limits = made.engine.live_policy.limits.book
    for _ in range(int(limits.nav_jump_confirm_s / TICK_S) + 2):
        made.look(TICK_S)
    assert made.report.live.trading.name in ("REDUCING", "HALTED")
    assert len(made.heard.entries) == before


# ---------------------------------------------------------------- answers that are none


def test_an_account_that_shows_no_position_is_not_traded_on(made: Trading) -> None:
    legs = hold(made)
    made.exchange.suffer(Fault(kind="no_positions", on=(ACCOUNT, POSITIONS)))
    sent = len(made.heard.sent)
    for _ in range(10):
        made.look(TICK_S)
    symbols = {symbol for symbol, _ in legs}
    assert symbols <= made.engine.state.recorded.halts.keys()
    assert not {order.symbol for order in made.heard.sent[sent:]} & symbols
    made.calm()


def test_a_ban_is_kept_across_a_restart(made: Trading) -> None:
    hold(made)
    made.exchange.suffer(Fault(kind="ban", times=1, delay_s=90.0))
    made.look(TICK_S)
    asked = len(made.exchange.requests)
    for _ in range(3):
        made.look(TICK_S)
    made.restart(after_s=5.0)
    for _ in range(3):
        assert isinstance(made.look(TICK_S).seen, Blind)
    assert made.engine.venue.health().banned_until_ts is not None
    assert len(made.exchange.requests) == asked
    made.clock.advance(90.0)
    made.calm()
    assert made.engine.venue.health().banned_until_ts is None
    assert not any(each["banned"] for each in made.exchange.requests)


@pytest.mark.parametrize("skew_s", [3.0, -3.0])
def test_a_clock_that_is_three_seconds_off_is_measured(made: Trading, skew_s: float) -> None:
    hold(made)
    made.exchange.ask("skew", seconds=skew_s)
    before = client_ids(made)

    def measured() -> bool:
        offset_ms = made.engine.venue.health().clock_offset_ms
        return offset_ms is not None and abs(offset_ms - skew_s * 1000) < 500

    until(made, "the offset is measured", measured)
    until(made, "orders go on", lambda: len(client_ids(made) - before) >= 3)
    made.calm()


@pytest.mark.parametrize(
    "unseen",
    [
        pytest.param(Fault(kind="orders_late", delay_s=9.0), marks=pytest.mark.full),
        Fault(kind="html", on=(FIND,)),
    ],
    ids=lambda it: it.kind,
)
def test_an_order_that_cannot_be_looked_up_is_not_given_up(made: Trading, unseen: Fault) -> None:
    made.exchange.suffer(Fault(kind="lost", on=(SUBMIT,), times=3), unseen)
    until(made, "replies are lost", lambda: made.exchange.truth["struck"].get("lost", 0) == 3)
    taken = client_ids(made)
    for _ in range(10):
        made.look(TICK_S)
        assert not [row for row in made.accounts.orders() if row["state"] == "NEVER"]
    made.calm()
    states = {row["client_id"]: row["state"] for row in made.accounts.orders()}
    assert {states[name] for name in taken} <= {"LIVE", "FILLED", "CANCELED", "EXPIRED"}
