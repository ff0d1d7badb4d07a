"""Modes are compared, leverage and margin are set once, and what was set already is success."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.errors import ConfigError, VenueUnavailable
from execution.services import Account
from execution.venue.ccxt_setup import AGAIN_S, Setup
from execution.venue.ccxt_wire import Params, Reply, Unanswered
from tests.support.wires import Line, refusal, reply

MODES, SYMBOLS = "fapiPrivateGetAccountConfig", "fapiPrivateGetSymbolConfig"
LEVERAGE, MARGIN = "fapiPrivatePostLeverage", "fapiPrivatePostMarginType"


def modes(*, hedge: bool = True, multi: bool = False) -> Reply:
    return reply({"dualSidePosition": hedge, "multiAssetsMargin": multi})


def symbols(**leverage: int) -> Reply:
    rows = [
        {"symbol": name, "marginType": "CROSSED", "leverage": multiple}
        for name, multiple in leverage.items()
    ]
    return reply(rows)


def set_leverage(params: Params) -> Reply:
    return reply({"symbol": params["symbol"], "leverage": int(params["leverage"])})


@pytest.fixture
def line(tmp_path: Path) -> Line:
    made = Line(tmp_path)
    made.wire.answers = {
        MODES: modes(),
        SYMBOLS: symbols(BTCUSDT=20, ETHUSDT=4, DOGEUSDT=50),
        LEVERAGE: set_leverage,
        MARGIN: reply({"code": 200, "msg": "success"}),
    }
    return made


def setup(line: Line, mode: str = "hedge", margin: str = "cross") -> Setup:
    wanted = Account(mode, margin, 4)  # type: ignore[arg-type]  # a builder
    return Setup(line.session, line.clock, wanted, ("BTCUSDT", "ETHUSDT"))


def test_leverage_is_set_where_it_differs_and_only_for_our_symbols(line: Line) -> None:
    made = setup(line)
    made.begin()
    assert [(p["symbol"], p["leverage"]) for p in line.wire.asked(LEVERAGE)] == [("BTCUSDT", "4")]
    assert line.wire.asked(MARGIN) == []
    assert made.leverage == {"BTCUSDT": 4, "ETHUSDT": 4, "DOGEUSDT": 50}


def test_the_margin_mode_is_set_where_it_differs(line: Line) -> None:
    setup(line, margin="isolated").begin()
    assert [(p["symbol"], p["marginType"]) for p in line.wire.asked(MARGIN)] == [
        ("BTCUSDT", "ISOLATED"),
        ("ETHUSDT", "ISOLATED"),
    ]


@pytest.mark.parametrize("code", [-4046, -4059, -4047, -4161])
def test_what_is_set_already_or_cannot_be_set_is_not_asked_again(line: Line, code: int) -> None:
    line.wire.answers |= {LEVERAGE: refusal(code), MARGIN: refusal(code)}
    made = setup(line, margin="isolated")
    made.begin()
    line.tick(AGAIN_S)
    made.check()
    assert len(line.wire.asked(LEVERAGE)) == 1
    assert len(line.wire.asked(MARGIN)) == 2
    assert made.leverage["BTCUSDT"] == 20


def test_what_had_no_answer_is_set_in_the_next_round_and_nothing_is_done_before(line: Line) -> None:
    line.wire.answers[LEVERAGE] = Unanswered("reset")
    made = setup(line)
    made.begin()
    with pytest.raises(VenueUnavailable, match="leverage of BTCUSDT"):
        made.check()
    line.wire.answers[LEVERAGE] = set_leverage
    line.tick()
    made.check()
    assert made.leverage["BTCUSDT"] == 4


@pytest.mark.parametrize(("mode", "there"), [("hedge", False), ("one_way", True)])
def test_another_position_mode_is_refused_with_what_to_do(line: Line, mode: str, there) -> None:
    line.wire.answers[MODES] = modes(hedge=there)
    with pytest.raises(ConfigError, match=r"account\.position_mode .*set that, or change the mode"):
        setup(line, mode).begin()
    assert line.wire.names() == [MODES]


def test_multi_assets_mode_is_refused_with_what_to_do(line: Line) -> None:
    line.wire.answers[MODES] = modes(multi=True)
    with pytest.raises(ConfigError, match="switch it to single-asset mode"):
        setup(line).begin()


@pytest.mark.parametrize("code", [-2014, -2015, -1022])
def test_a_key_that_is_refused_is_a_persons_to_mend(line: Line, code: int) -> None:
    line.wire.answers[MODES] = refusal(code, 401)
    with pytest.raises(ConfigError, match=rf"BINANCE_API_KEY.*{code}"):
        setup(line).begin()


def test_an_exchange_that_is_down_at_the_start_is_asked_again(line: Line) -> None:
    line.wire.answers[MODES] = Unanswered("reset")
    made = setup(line)
    made.begin()
    line.wire.answers[MODES] = modes()
    line.tick()
    made.check()
    assert made.leverage["BTCUSDT"] == 4


def test_the_modes_are_compared_every_minute(line: Line) -> None:
    made = setup(line)
    made.begin()
    for _ in range(3):
        line.tick(AGAIN_S / 3)
        made.check()
    assert len(line.wire.asked(MODES)) == 2
    line.wire.answers[MODES] = modes(hedge=False)
    line.tick(AGAIN_S)
    with pytest.raises(ConfigError):
        made.check()
