"""How the account is set up at the exchange: modes are compared, leverage and margin are set."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from execution.clock import Clock
from execution.errors import ConfigError, VenueUnavailable
from execution.services import Account as AccountSettings
from execution.venue.ccxt_errors import Doubt, Refusal
from execution.venue.ccxt_limits import Pace
from execution.venue.ccxt_replies import AccountConfig, Done, LeverageSet, SymbolConfig
from execution.venue.ccxt_session import Endpoint, Session

log = logging.getLogger(__name__)

ACCOUNT_CONFIG: Final = Endpoint("fapiPrivateGetAccountConfig", 5, signed=True)
SYMBOL_CONFIG: Final = Endpoint("fapiPrivateGetSymbolConfig", 5, signed=True)
LEVERAGE: Final = Endpoint("fapiPrivatePostLeverage", 1, signed=True)
MARGIN_TYPE: Final = Endpoint("fapiPrivatePostMarginType", 1, signed=True)
MARGIN_TYPES: Final = {"cross": "CROSSED", "isolated": "ISOLATED"}
# A person may change the modes at any time.
AGAIN_S: Final = 60.0
SHARE: Final = 0.01


class Setup:
    """The account's modes, which are compared, and leverage and margin, which are set for `symbols`."""

    def __init__(
        self, session: Session, clock: Clock, wanted: AccountSettings, symbols: Iterable[str]
    ) -> None:
        self.leverage: dict[str, int] = {}
        self._session = session
        self._wanted = wanted
        self._pace = Pace(session.limits, clock, SHARE)
        self._symbols = tuple(symbols)
        # Settings that the exchange has answered for, whatever it said.
        self._answered: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Compare and set at the start. Raises ConfigError where a person must act.

        An exchange that does not answer now is asked again by `check`.
        """
        try:
            self.check()
        except VenueUnavailable as error:
            log.warning("the account's settings are not known yet: %s", error)

    def check(self) -> None:
        """Compare and set where it is due. Raises VenueUnavailable and ConfigError."""
        if not self._pace.is_due():
            return
        config = self._session.ask(ACCOUNT_CONFIG, AccountConfig)
        if isinstance(config, Refusal):
            told = f"{config.code} {config.reason}"
            if config.meaning == "keys":
                raise ConfigError(
                    f"the exchange refuses BINANCE_API_KEY with BINANCE_API_SECRET ({told}): mend "
                    "them, or the key's addresses and its leave for futures"
                )
            raise VenueUnavailable(f"{ACCOUNT_CONFIG.name}: {told}")
        self._compare(config)
        for row in self._session.read(SYMBOL_CONFIG, tuple[SymbolConfig, ...]):
            self.leverage[row.symbol] = row.leverage
            if row.symbol in self._symbols:
                self._set(row)
        self._pace.done(ACCOUNT_CONFIG.weight + SYMBOL_CONFIG.weight, AGAIN_S)

    def _compare(self, config: AccountConfig) -> None:
        if config.multi_assets_margin:
            raise ConfigError(
                "the account is in multi-assets mode, in which other coins back positions and NAV"
                " is not the USDT wallet: switch it to single-asset mode at the exchange"
            )
        there = "hedge" if config.dual_side_position else "one_way"
        if there != self._wanted.position_mode:
            raise ConfigError(
                f"services.toml: account.position_mode {self._wanted.position_mode!r}: the account "
                f"is in {there!r}: set that, or change the mode at the exchange while nothing is "
                "held and no order rests"
            )

    def _set(self, row: SymbolConfig) -> None:
        """Set leverage and margin once where they differ; what is refused stays as it is."""
        wanted, symbol = self._wanted, row.symbol
        margin_type = MARGIN_TYPES[wanted.margin_mode]
        if row.margin_type != margin_type and (symbol, "margin") not in self._answered:
            params = {"symbol": symbol, "marginType": margin_type}
            self._mind(symbol, "margin", self._session.send(MARGIN_TYPE, Done, params))
        if row.leverage != wanted.leverage and (symbol, "leverage") not in self._answered:
            params = {"symbol": symbol, "leverage": str(wanted.leverage)}
            answer = self._session.send(LEVERAGE, LeverageSet, params)
            self._mind(symbol, "leverage", answer)
            if isinstance(answer, LeverageSet):
                self.leverage[symbol] = answer.leverage

    def _mind(self, symbol: str, what: str, answer: object) -> None:
        if isinstance(answer, Doubt) or (isinstance(answer, Refusal) and answer.code == "not_sent"):
            raise VenueUnavailable(f"{what} of {symbol} is not set yet: {answer.reason}")
        self._answered.add((symbol, what))
        if isinstance(answer, Refusal) and answer.meaning != "set":
            log.error("%s of %s stays as it is: %s %s", what, symbol, answer.code, answer.reason)
        else:
            log.info("%s of %s is set", what, symbol)
