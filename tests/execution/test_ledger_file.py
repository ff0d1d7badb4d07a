from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution.core.seam import CashRow
from execution.errors import LedgerError
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from execution.ledger_rows import MIGRATIONS, SCHEMA_VERSION
from tests.support import builders
from tests.support.ledgers import fill_story, views

NOW = builders.NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper-main.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(LedgerFile(path, "paper", "main"))
    yield opened
    opened.close()


# ---------------------------------------------------------------- refusals


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "truncated", "text"])
def test_a_corrupt_file_is_refused_by_name_and_left_as_it_is(
    path: Path, ledger: Ledger, damage: str
) -> None:
    fill_story(ledger)
    ledger.close()
    content = bytearray(bytes_of(path))
    if damage == "garbage":
        content[:] = bytes(range(256)) * (len(content) // 256)
    elif damage == "header":
        content[:16] = b"not a database!!"
    elif damage == "middle":
        content[4096:8192] = b"\xa5" * 4096
    elif damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content = content.replace(b"-0.123", b"-0.1x3")
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger"):
        Ledger(LedgerFile(path, "paper", "main"))
    assert bytes_of(path) == bytes(content)


def test_the_refusal_names_the_file(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    with pytest.raises(LedgerError, match=path.name):
        Ledger(LedgerFile(path, "paper", "main"))


@pytest.mark.parametrize(("mode", "account"), [("testnet", "main"), ("paper", "other")])
def test_a_ledger_of_another_mode_or_account_is_refused_and_left_as_it_is(
    path: Path, ledger: Ledger, mode: str, account: str
) -> None:
    fill_story(ledger)
    ledger.close()
    before = bytes_of(path)
    with pytest.raises(LedgerError, match=f"'{mode if mode != 'paper' else account}'"):
        Ledger(LedgerFile(path, mode, account))
    assert bytes_of(path) == before


def test_a_killed_process_left_its_ledger_as_it_is_for_the_right_one(
    path: Path, ledger: Ledger, tmp_path: Path
) -> None:
    # What a kill leaves: the newest commits are in the write-ahead log and nowhere else.
    fill_story(ledger)
    left = tmp_path / "killed.sqlite"
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
    before = [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")]
    with pytest.raises(LedgerError, match="'testnet'"):
        Ledger(LedgerFile(left, "testnet", "main"))
    assert [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")] == before
    again = Ledger(LedgerFile(left, "paper", "main"))
    assert views(again) == views(ledger)
    again.close()


def test_a_ledger_of_another_schema_is_refused(path: Path, ledger: Ledger) -> None:
    ledger._db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    ledger.close()
    with pytest.raises(LedgerError, match="schema_version '99'"):
        Ledger(LedgerFile(path, "paper", "main"))


def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text TEXT)")
    other.close()
    before = bytes_of(path)
    with pytest.raises(LedgerError, match=path.name):
        Ledger(LedgerFile(path, "paper", "main"))
    assert bytes_of(path) == before


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="nowhere"):
        Ledger(LedgerFile(tmp_path / "nowhere" / "x.sqlite", "paper", "main"))


# ---------------------------------------------------------------- migration


def test_a_ledger_of_the_first_schema_is_brought_to_this_one_with_everything_in_it(
    path: Path, ledger: Ledger
) -> None:
    fill_story(ledger)
    for cash_id, asset, amount in (
        ("t1", "USDT", "-0.3"),
        ("t2", "USDT", "0.1"),
        ("t3", "BNB", "7"),
    ):
        ledger.add_cash([CashRow(cash_id, "transfer", asset, Decimal(amount), None, NOW)])
    # What was transferred before is in the anchors that it finds.
    ledger.keep_anchors(replace(ledger.anchors(), transfers_usd=Decimal("-0.2")))
    told = views(ledger)
    ledger.close()
    older = sqlite3.connect(path)
    older.execute("ALTER TABLE orders DROP COLUMN clean_lookups")
    for column in ("transfers_usd", "stopped", "stopped_ts", "resets"):
        older.execute(f"ALTER TABLE anchors DROP COLUMN {column}")
    for column in ("tuning", "first_attempt"):
        older.execute(f"ALTER TABLE intents DROP COLUMN {column}")
    older.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    older.commit()
    older.close()

    again = Ledger(LedgerFile(path, "paper", "main"))

    assert views(again) == told
    (order,) = again.open_orders()
    assert again.count_lookup(order) == 1
    assert again.open_orders()[0].clean_lookups == 1
    again.close()
    version = sqlite3.connect(path).execute("SELECT value FROM meta WHERE key='schema_version'")
    assert version.fetchone() == (str(SCHEMA_VERSION),)
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


# ---------------------------------------------------------------- images


def test_an_image_is_the_ledger_as_a_crash_leaves_it_after_its_last_commit() -> None:
    commits: list[int] = []
    file = LedgerFile(None, "paper", "main", committed=lambda: commits.append(len(commits)))
    ledger = Ledger(file)
    fill_story(ledger)
    before = len(commits)
    image, told = file.image(), views(ledger)
    ledger.keep_anchors(ledger.anchors())
    assert len(commits) == before + 1

    again = Ledger(LedgerFile(None, "paper", "main", image=image))
    assert views(again) == told
    again.close()
    ledger.close()
