"""What an executor is made of, by DRY_RUN, BINANCE_TESTNET and MARKET; and who it speaks to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution import boot, settings
from execution.boot import Engine
from execution.clock import ManualClock
from execution.core.seam import MarketSnapshot
from execution.core.types import TickReport
from execution.errors import ConfigError
from execution.executor_live import _pub_tick, beat
from execution.state_schema import registry
from tests.exchange.planted import KEY, SECRET
from tests.exchange.running import Running, in_thread
from tests.exchange.setup import LISTINGS, Setup
from tests.support.executors import write_ops

NOW = 1_800_014_400.0
KEYS = {"BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": SECRET}
LIVE = {"DRY_RUN": "0", "BINANCE_TESTNET": "0", "ENV": "prod"}
TESTNET = {"DRY_RUN": "0", "BINANCE_TESTNET": "1"}
REAL_PRICES = {"MARKET": "binance"}


def build(
    folder: Path, environ: dict[str, str], clock: ManualClock, *, operated: bool = True
) -> Engine:
    ops = folder / "ops"
    if not ops.exists():
        write_ops(folder)
    told = {"HEDGE_LOG_DIR": str(folder / "logs"), "HEDGE_OPS_DIR": str(ops), **environ}
    loaded = settings.load(told)
    settings.prepare_log_dir(loaded)
    return boot.build(loaded, clock, operated=operated)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def exchange(clock: ManualClock) -> Iterator[Running]:
    with in_thread(Setup(listings=LISTINGS), clock) as running:
        yield running


def beats(engine: Engine, clock: ManualClock, count: int) -> TickReport:
    for _ in range(count):
        clock.advance(1)
        assert beat(engine) == ()
    assert engine.report is not None
    return engine.report


# ---------------------------------------------------------------- real money


def test_real_money_stays_disarmed_and_nobody_is_spoken_to(
    tmp_path: Path, clock: ManualClock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as exchange:
        exchange.settimeout(0.2)
        url = f"http://127.0.0.1:{exchange.getsockname()[1]}"
        engine = build(tmp_path, {**LIVE, **KEYS, "BINANCE_BASE_URL": url}, clock)
        report = beats(engine, clock, 3)
        assert engine.desk.stand_down() == 0
        with pytest.raises(TimeoutError):
            exchange.accept()
    assert report.live.trading.name == "HALTED"
    assert report.live.trading.reasons == ("disarmed", "blind", "nav_unavailable")
    snapshot = engine.store.read(registry.RISK_SNAPSHOT)
    assert snapshot is not None
    assert snapshot.trading_state_reasons[0] == "disarmed"
    nav, health = engine.store.read(registry.NAV), engine.store.read(registry.EXECUTOR_HEALTH)
    assert nav is not None
    assert (nav.known, nav.stale) == (False, True)
    assert health is not None
    assert (health.mode, health.trading_state) == ("live", "HALTED")
    engine.close()


def test_real_money_needs_no_key_while_nothing_is_sent(tmp_path: Path, clock: ManualClock) -> None:
    engine = build(tmp_path, LIVE, clock)
    assert beats(engine, clock, 1).live.trading.reasons[0] == "disarmed"
    engine.close()


# ---------------------------------------------------------------- the test environment


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_the_test_environment_needs_both_keys(tmp_path: Path, clock, missing: str) -> None:
    environ = {**TESTNET, **KEYS, missing: ""}
    with pytest.raises(ConfigError, match=f"{missing} is not set") as refused:
        build(tmp_path, environ, clock)
    assert KEY not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_the_test_environment_is_read_and_set_up(tmp_path: Path, clock, exchange: Running) -> None:
    engine = build(tmp_path, {**TESTNET, **KEYS, "BINANCE_BASE_URL": exchange.url}, clock)
    report = beats(engine, clock, 2)
    assert isinstance(report.seen, MarketSnapshot)
    assert report.state.book.known
    assert report.state.book.nav_usd == 10_000.0
    assert {each["path"] for each in exchange.requests if each["method"] == "POST"} == {
        "/fapi/v1/leverage"
    }
    assert engine.telling.run.venue == "binance"
    assert engine.telling.run.health.clock_offset_ms == pytest.approx(0, abs=50)
    engine.close()


def test_called_bare_it_reads_and_sets_nothing(tmp_path: Path, clock, exchange: Running) -> None:
    environ = {**TESTNET, **KEYS, "BINANCE_BASE_URL": exchange.url}
    engine = build(tmp_path, environ, clock, operated=False)
    assert _pub_tick(engine).failures == ()
    assert {each["method"] for each in exchange.requests} == {"GET"}
    engine.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_mode": "one_way"}, r"account\.position_mode 'hedge'.*'one_way'"),
        ({"multi_assets": True}, "multi-assets mode"),
        ({"key": "AnotherKey"}, "BINANCE_API_KEY"),
    ],
)
def test_an_account_that_is_set_up_otherwise_is_refused_with_the_remedy(
    tmp_path: Path, clock, changes, message: str
) -> None:
    with in_thread(Setup(listings=LISTINGS, **changes), clock) as exchange:
        environ = {**TESTNET, **KEYS, "BINANCE_BASE_URL": exchange.url}
        with pytest.raises(ConfigError, match=message):
            build(tmp_path, environ, clock)


def test_the_keys_are_in_nothing_that_it_writes(
    tmp_path: Path, clock, exchange: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    engine = build(tmp_path, {**TESTNET, **KEYS, "BINANCE_BASE_URL": exchange.url}, clock)
    beats(engine, clock, 2)
    told = [caplog.text, repr(engine.settings), repr(engine.venue)]
    engine.close()
    files = (path for path in (tmp_path / "logs").rglob("*") if path.is_file())
    told += [path.read_bytes().decode("latin-1") for path in files]
    assert len(told) > 20
    for text in told:
        assert KEY not in text
        assert SECRET not in text


# ---------------------------------------------------------------- real prices on paper


def test_real_prices_feed_the_paper_account_without_a_key(
    tmp_path: Path, clock, exchange: Running
) -> None:
    engine = build(tmp_path, {**REAL_PRICES, "BINANCE_BASE_URL": exchange.url}, clock)
    report = beats(engine, clock, 3)
    assert isinstance(report.seen, MarketSnapshot)
    assert report.state.book.nav_usd == 100_000.0
    assert report.state.quotes.keys() == {listing.symbol for listing in LISTINGS}
    assert report.state.rules["BTCUSDT"].price_up_mult is not None
    assert {each["method"] for each in exchange.requests} == {"GET"}
    assert not any("signature" in str(each) for each in exchange.requests)
    assert engine.venue.health().weight_used_1m is not None
    engine.close()


def test_the_paper_account_is_cross_margined(tmp_path: Path, clock: ManualClock) -> None:
    write_ops(tmp_path, margin_mode='"isolated"')
    with pytest.raises(ConfigError, match=r'account\.margin_mode .*set it to "cross"'):
        build(tmp_path, {}, clock)
