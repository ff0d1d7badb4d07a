"""The exchange put together from settings; whoever imports this loads ccxt."""

from __future__ import annotations

from execution.clock import Clock
from execution.environment import KEYS, Secret
from execution.errors import ConfigError
from execution.settings import Settings
from execution.venue.ccxt_account import Holdings
from execution.venue.ccxt_history import History
from execution.venue.ccxt_limits import Limits
from execution.venue.ccxt_market import Prices
from execution.venue.ccxt_session import Session
from execution.venue.ccxt_setup import Setup
from execution.venue.ccxt_venue import CcxtVenue
from execution.venue.ccxt_wire import CcxtWire
from execution.venue.public import PublicMarket


def exchange(settings: Settings, clock: Clock, *, may_set: bool = True) -> CcxtVenue:
    """Return the exchange's test environment, its settings compared and, if they may be, set.

    Raises ConfigError where a person must act.
    """
    for name, secret in zip(KEYS, (settings.api_key, settings.api_secret), strict=True):
        if not secret:
            raise ConfigError(
                f"{name} is not set: DRY_RUN=0 with BINANCE_TESTNET=1 needs a key of the exchange's"
                " demo trading: set it in .env, or DRY_RUN=1 for paper"
            )
    session = _session(settings, clock, settings.api_key, settings.api_secret, demo=True)
    symbols = _symbols(settings)
    account = settings.services.account
    venue = CcxtVenue(
        session,
        Prices(session, clock, symbols),
        Setup(session, clock, account, symbols if may_set else ()),
        Holdings(session, clock),
        History(session, clock),
        hedge=account.position_mode == "hedge",
        history_bars=settings.services.exchange.history_bars,
    )
    venue.prepare()
    return venue


def public(settings: Settings, clock: Clock) -> PublicMarket:
    """Return the exchange's public market, for which nobody needs a key."""
    nothing = Secret("")
    session = _session(settings, clock, nothing, nothing, demo=False)
    listings = settings.policy.universe.listing
    return PublicMarket(session, clock, listings, settings.services.exchange.history_bars)


def _session(
    settings: Settings, clock: Clock, key: Secret, secret: Secret, *, demo: bool
) -> Session:
    exchange = settings.services.exchange
    wire = CcxtWire(key, secret, demo=demo, base_url=settings.base_url, call_s=exchange.call_s)
    limits = Limits(settings.log_dir, clock)
    return Session(wire, limits, clock, exchange.call_s, exchange.round_s)


def _symbols(settings: Settings) -> list[str]:
    return [listing.symbol for listing in settings.policy.universe.listing]
