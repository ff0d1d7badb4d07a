"""`paper.sqlite`: what cannot be trusted is refused by name and left as it is."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from execution.core.seam import CashRow, NotFound
from execution.errors import LedgerError, VenueUnavailable
from execution.venue.paper_store import KEPT_ORDERS, Changes, PaperStore
from tests.execution.venue.scripted import SYMBOL, Bench, candle

D = Decimal
LONG = {"side": "BUY", "position_side": "LONG"}
REST = {"type": "LIMIT", "post_only": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A paper account with a leg and a resting order."""
    path = tmp_path / "paper.sqlite"
    made = Bench([candle(100.0, low=99.0, high=101.0)] * 9, path=path)
    made.step()
    made.submit("a", **LONG)
    made.submit("b", **LONG, **REST, price="98.0")
    made.step()
    made.venue.close()
    return path


def change(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()


def test_money_is_text_and_comes_back_as_it_was(path: Path) -> None:
    database = sqlite3.connect(path)
    assert database.execute("SELECT wallet_usd, start_usd, fees_usd FROM account").fetchone() == (
        "9999.94995000",
        "10000.00000000",
        "0.05005000",
    )
    assert database.execute("SELECT typeof(qty), typeof(price) FROM trades").fetchone() == (
        "text",
        "text",
    )
    database.close()
    store = PaperStore(path)
    assert store.saved is not None
    assert store.saved[0].wallet_usd == D("9999.94995")
    store.close()


def test_a_store_is_durable_unless_told(path: Path) -> None:
    for durable, level in ((True, 2), (False, 0)):
        store = PaperStore(path, durable=durable)
        assert store._db.execute("PRAGMA synchronous").fetchone()[0] == level
        assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert store.durable is durable
        store.close()
    assert PaperStore(None).durable is False


@pytest.mark.parametrize(
    "content",
    [b"not a database at all\n" * 50, b"SQLite format 3\x00" + b"\xff" * 5000, b"\x00" * 4096],
)
def test_garbage_is_refused_by_name_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "paper.sqlite"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"paper\.sqlite.*left as it is"):
        PaperStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_damaged_or_cut_file_is_refused_and_left_as_it_is(path: Path, share: float) -> None:
    whole = path.read_bytes()
    at = int(len(whole) * share)
    for content in (whole[:at], whole[:at] + b"\xa5" * 3000 + whole[at + 3000 :]):
        path.write_bytes(content)
        with pytest.raises(LedgerError, match=r"paper\.sqlite"):
            PaperStore(path)
        assert path.read_bytes() == content


def test_a_file_left_before_its_first_account_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    PaperStore(path).close()
    assert path.stat().st_size > 0
    made = Bench([candle(100.0)], path=path)
    assert made.wallet == D(10_000)
    made.venue.close()


def test_a_resting_order_that_lost_its_price_is_never_filled(path: Path) -> None:
    change(path, "UPDATE orders SET price = NULL WHERE state = 'LIVE'")
    made = Bench([candle(100.0, low=9.0, high=999.0)] * 9, path=path)
    made.step(5)
    assert (made.state("b"), [trade.client_id for trade in made.trades]) == ("LIVE", ["a"])
    made.venue.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("PRAGMA user_version = 3", r"version 2 \(it says 3\)"),
        ("PRAGMA user_version = 0", r"version 2 \(it says 0\)"),
        ("DROP TABLE legs", "no such table: legs"),
        ("UPDATE account SET wallet_usd = '9999.94995001'", "is not the sum"),
        ("UPDATE account SET wallet_usd = 'much'", "is corrupt"),
        ("UPDATE account SET wallet_usd = 'NaN'", "is corrupt"),
        ("UPDATE legs SET qty = 'some'", "is corrupt"),
        ("UPDATE orders SET state = 'LIVE', type = 'ICEBERG'", "is corrupt.*ICEBERG"),
    ],
)
def test_an_account_that_cannot_be_is_refused(path: Path, statement: str, reason: str) -> None:
    change(path, statement)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=reason):
        PaperStore(path)
    assert path.read_bytes() == before


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    change(path, "CREATE TABLE songs (name TEXT)")
    with pytest.raises(LedgerError, match="is no paper account"):
        PaperStore(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no-folder"):
        PaperStore(tmp_path / "no-folder" / "paper.sqlite")


def test_an_empty_file_is_a_new_account(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    path.touch()
    store = PaperStore(path)
    assert store.saved is None
    store.close()


def test_a_step_is_kept_as_a_whole_or_not_at_all(path: Path) -> None:
    store = PaperStore(path)
    assert store.saved is not None
    account, clock = store.saved
    richer = replace(account, wallet_usd=account.wallet_usd + 1, orders={})
    timeless: Any = None
    row = CashRow("gift", "transfer", "USDT", D(1), None, timeless)
    with pytest.raises(VenueUnavailable, match=r"paper\.sqlite cannot be written: NOT NULL"):
        store.commit(Changes(richer, clock, cash=(row,)))
    assert [row.cash_id for row in store.cash(0.0)] == ["start"]
    store.close()
    again = PaperStore(path)
    assert again.saved == (account, clock)
    again.close()


def test_orders_that_are_done_and_old_are_forgotten_and_open_ones_are_not(path: Path) -> None:
    change(path, f"UPDATE account SET last_id = last_id + {KEPT_ORDERS - 10}")
    store = PaperStore(path)
    assert store.find_order(SYMBOL, "a") != NotFound()
    store.close()
    change(path, "UPDATE account SET last_id = last_id + 10")
    store = PaperStore(path)
    assert store.find_order(SYMBOL, "a") == NotFound()
    assert store.find_order(SYMBOL, "b") != NotFound()
    assert len(store.trades(SYMBOL, 0.0)) == 1
    store.close()
