"""The venue of real money that nobody may trade on yet: it says nothing that it cannot know."""

from __future__ import annotations

from execution.core.seam import Ambiguous, Blind, Rejected
from execution.venue.disarmed import REASON, DisarmedVenue
from tests.support import builders


def test_it_takes_no_order_and_calls_nothing_empty_or_gone() -> None:
    venue = DisarmedVenue()
    assert venue.submit(builders.new_order()) == Rejected("disarmed", REASON)
    assert venue.cancel("BTCUSDT", "hgl-d1-1") == Ambiguous(REASON)
    assert venue.observe(builders.NOW) == Blind(builders.NOW, REASON)
    for told in (
        venue.find_order("BTCUSDT", "hgl-d1-1"),
        venue.trades("BTCUSDT", 0.0),
        venue.cash(0.0),
    ):
        assert isinstance(told, Blind)
        assert told.reason == REASON
