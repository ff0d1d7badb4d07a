"""The page's few shapes: banner, panel, tile, bar, facts, table, log, fields and downloads.

Text reaches the browser only through `st.text`, `st.dataframe` and chart data, none of which reads
HTML or markdown; in what files say, characters that nobody sees, or that turn what stands beside them,
are made visible. Colour and place come from `style.css` by the keys of the containers around the
text; a key is made of fixed words and numbers, never of a payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import streamlit as st

from dashboard.shown import Age, Bars, Column, Facts, Level, Shown, Table
from dashboard.trouble import Trouble
from dashboard.view_model import Frame
from dashboard.view_suite import Alerts, Process
from execution.log_lines import escape

STYLE: Final = Path(__file__).with_name("style.css")
WORDS: Final[dict[Level, str]] = {
    "critical": "ALARM",
    "warning": "WARNING",
    "note": "NOTE",
    "ok": "OK",
}
STATES: Final[dict[str, Level]] = {"ACTIVE": "ok", "REDUCING": "warning", "HALTED": "critical"}
OTHERS_SHOWN: Final = 3
NAME_CHARS: Final = 80
LONG_NAME: Final = 25
LONGEST_NAME: Final = 40
NAME_PX: Final = 7.2
CELL_PX: Final = 9
ROWS_WHOLE: Final = 20  # a longer table scrolls within itself


def stylesheet() -> None:
    """Bring in the one stylesheet."""
    st.html(STYLE)


def silence(redraws: int, after_s: float) -> None:
    """Place the warning that appears by itself when no redraw came for `after_s`.

    Its words and its clock are the stylesheet's: they run in the browser and need no server. Each
    redraw alternates the key, which starts the clock anew.
    """
    st.html(f"<style>:root {{ --silence: {after_s:g}s }}</style>")
    with st.container(key=f"silence_{'odd' if redraws % 2 else 'even'}"):
        st.text("")


def banner(frame: Frame) -> None:
    """Draw the mode, the time and the worst thing."""
    with st.container(key=f"mode_{frame.tone}"):
        st.text(frame.mode)
        if frame.mirror is not None:
            st.text(escape(frame.mirror))
        st.text(frame.clock)
    with st.container(key=f"banner_{frame.worst.level}"):
        st.text(_sentence(frame.worst))
        for other in frame.others[:OTHERS_SHOWN]:
            st.text(_sentence(other))
        rest = frame.others[OTHERS_SHOWN:]
        if rest:
            with st.expander(f"{len(rest)} more", key="more_troubles"):
                for other in rest:
                    st.text(_sentence(other))


def refusal(reason: str) -> None:
    """Say why nothing can be shown."""
    with st.container(key="banner_critical"):
        st.text("ALARM  The configuration cannot be read, so nothing is shown.")
        st.text(_lines(reason))
        st.text("Mend it and load this page again.")


def _sentence(trouble: Trouble) -> str:
    return f"{WORDS[trouble.level]}  {escape(trouble.text)}"


@contextmanager
def panel(slug: str, title: str, age: Age | None = None) -> Iterator[None]:
    """Draw a titled frame around what follows; grey where its age is not fresh."""
    status = "fresh" if age is None else age.status
    with st.container(key=f"panel_{status}_{slug}"):
        with st.container(key=f"head_{slug}"):
            st.text(title)
            st.text("" if age is None else age.text)
        with st.container(key=f"body_{slug}"):
            yield


def tiles(slug: str, shown: Sequence[Shown]) -> None:
    """Draw values side by side, each with its age."""
    with st.container(key=f"tiles_{slug}"):
        for place, each in enumerate(shown):
            with st.container(key=f"tile_{each.age.status}_{slug}_{place}"):
                st.text(escape(each.label))
                st.text(escape(each.value))
                st.text(escape(each.detail))
                st.text(each.age.text)


def trading(shown: Shown) -> None:
    """Draw the trading state large, with its reasons beneath."""
    level = STATES.get(shown.value, "note")
    with panel("trading", shown.label, shown.age), st.container(key=f"state_{level}_trading"):
        st.text(escape(shown.value))
        st.text(escape(shown.detail))


def bars(slug: str, shown: Bars) -> None:
    """Draw shares as bars, or the words for none."""
    if not shown.rows:
        with st.container(key=f"empty_{slug}"):
            st.text(shown.empty)
    for place, row in enumerate(shown.rows):
        with st.container(key=f"limit_{row.level}_{slug}_{place}"):
            st.text(escape(row.name))
            st.text(row.used)
            st.progress(row.frac if row.frac is not None else 0.0)
            st.text(escape(row.detail))


def processes(rows: Sequence[Process]) -> None:
    """Draw one line for each process."""
    for place, row in enumerate(rows):
        with st.container(key=f"process_{row.level}_{place}"):
            st.text(escape(row.name))
            st.text(row.state)
            st.text(row.age.text)
            st.text(escape(row.detail))


def alerts(found: Alerts) -> None:
    """Draw each alert with its whole text, or the words for none."""
    if not found.rows:
        with st.container(key="empty_alerts"):
            st.text(found.empty)
    for place, row in enumerate(found.rows):
        with st.container(key=f"alert_{row.level}_{place}"):
            st.text(escape(row.title))
            st.text(row.when)
            st.text(escape(row.text))
    if found.more:
        with st.container(key="empty_more_alerts"):
            st.text(f"and {found.more} older")


def facts(slug: str, found: Facts) -> None:
    """Draw names and values in two columns."""
    for place, (name, value) in enumerate(found.rows):
        with st.container(key=f"fact_{slug}_{place}"):
            st.text(escape(name))
            st.text(escape(value))


def table(slug: str, shown: Table) -> None:
    """Draw rows of text, or the words for none."""
    if not shown.rows:
        with st.container(key=f"empty_{slug}"):
            st.text(shown.empty)
        return
    columns = zip(shown.columns, zip(*shown.rows, strict=True), strict=True)
    st.dataframe(
        {column.title: _cells(column, cells) for column, cells in columns},
        hide_index=True,
        height="content" if len(shown.rows) <= ROWS_WHOLE else "auto",
        column_config={
            column.title: st.column_config.LinkColumn(display_text="order=(.*)")
            if column.order
            else st.column_config.TextColumn(
                alignment="right" if column.right else "left",
                pinned=place == 0,
                width=_width_px(column, shown.rows) if place == 0 else None,
            )
            for place, column in enumerate(shown.columns)
        },
        key=f"table_{slug}",
    )


def _width_px(column: Column, rows: Sequence[tuple[str, ...]]) -> int | None:
    """Return the width of a first column with long names: the browser measures only the top rows."""
    longest = max(len(row[0]) for row in rows)
    if longest < LONG_NAME or column.order:
        return None
    return round(NAME_PX * min(longest, LONGEST_NAME)) + 2 * CELL_PX


def _cells(column: Column, cells: tuple[str, ...]) -> list[str]:
    """Return the texts of a column, or for orders the address of each one's story."""
    if column.order:
        return [f"orders?order={quote(each, safe='')}" for each in cells]
    return [*map(escape, cells)]


def log(slug: str, text: str, note: str) -> None:
    """Draw lines of a log as they are."""
    with st.container(key=f"empty_{slug}"):
        st.text(note)
    if text:
        with st.container(key=f"log_{slug}"):
            st.text(_lines(text))


def _lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))


# ---------------------------------------------------------------- what a reader gives


@contextmanager
def fields() -> Iterator[None]:
    """Draw what a reader chooses side by side."""
    with st.container(key="fields"):
        yield


def field(label: str, name: str, hint: str) -> str:
    """Ask for a text; it is also in the address, so that a link leads to it."""
    asked: str = st.text_input(
        label, key=name, placeholder=hint, max_chars=NAME_CHARS, bind="query-params"
    )
    return asked.strip()


def downloads(makers: Mapping[str, Callable[[], str]]) -> None:
    """Offer CSV files by their names, each made when it is asked for."""
    with st.container(key="downloads"):
        for name, make in makers.items():
            st.download_button(
                f"{name}.csv",
                data=make,
                file_name=f"{name}.csv",
                mime="text/csv",
                key=f"download_{name}",
                on_click="ignore",
            )
