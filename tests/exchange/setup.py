"""How an exchange is set up for a test, in one value that also fits into a file."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from execution.core.policy import Listing, SimPath
from execution.core.position_mode import PositionMode
from execution.venue.paper_account import PaperTerms
from tests.exchange.planted import KEY, SECRET

MINUTE_S = 60
MAX_LEVERAGE = 125


class Setup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The listings and the account of one exchange, and how strict it is.

    `step_s` is how often prices move, `history_minutes` what there is before it opens. `weight_limit`
    is per minute; after `patience` requests beyond it, the answer is a ban of `ban_s`.
    """

    listings: tuple[Listing, ...]
    seed: int = 1
    start_usd: Decimal = Decimal(10_000)
    position_mode: PositionMode = "hedge"
    multi_assets: bool = False
    leverage: int = 20
    step_s: int = 5
    history_minutes: int = 120
    weight_limit: int = 2400
    patience: int = 10
    ban_s: float = 120.0
    key: str = KEY
    secret: str = SECRET

    def terms(self) -> PaperTerms:
        """Return what the exchange charges."""
        return PaperTerms(
            start_usd=self.start_usd,
            maker_fee_bps=Decimal(2),
            taker_fee_bps=Decimal(5),
            slippage_bps=Decimal(0),
            volume_share_frac=Decimal("0.1"),
            leverage=Decimal(self.leverage),
            maintenance_margin_pct=Decimal("0.4"),
            liquidation_fee_pct=Decimal("1.25"),
        )


def listing(symbol: str = "BTCUSDT", **fields: object) -> Listing:
    """Return a lively listing; the keywords make it another."""
    known: dict[str, object] = {
        "tier": "CORE",
        "tick_size": Decimal("0.1"),
        "step_size": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "max_qty": Decimal(1000),
        "min_notional_usd": Decimal(5),
        "half_spread_bps": 1.0,
        "sim": SimPath(price_usd=1000.0, vol_bps=8.0, beta=0.5, volume_usd=500_000.0),
    }
    return Listing(symbol=symbol, **{**known, **fields})  # type: ignore[arg-type]  # a builder


LISTINGS = (
    listing("BTCUSDT", sim=SimPath(price_usd=100_000.0, vol_bps=6.0, beta=1.0, volume_usd=2e6)),
    listing("ETHUSDT", tick_size=Decimal("0.01")),
    listing(
        "SOLUSDT",
        tick_size=Decimal("0.0100"),
        step_size=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(1_000_000),
        sim=SimPath(price_usd=150.0, vol_bps=9.0, beta=1.2, volume_usd=400_000.0),
    ),
)
