"""The page's few shapes: banner, panel, tile, bar, facts, table and chart.

Text reaches the browser only through `st.text`, `st.dataframe` and chart data, none of which reads
HTML or markdown. Colour and place come from `style.css` by the keys of the containers around the
text; a key is made of fixed words and numbers, never of a payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard.nav_series import NavSeries
from dashboard.shown import Age, Shown, Table
from dashboard.trouble import Level, Trouble
from dashboard.view_model import Frame, Limit
from dashboard.view_suite import Alerts, Facts, Process

STYLE: Final = Path(__file__).with_name("style.css")
WORDS: Final[dict[Level, str]] = {
    "critical": "ALARM",
    "warning": "WARNING",
    "note": "NOTE",
    "ok": "OK",
}
OTHERS_SHOWN: Final = 3
LINE_COLOUR: Final = "#2b8cc4"
FALL_COLOUR: Final = "#d55e00"
MS_PER_S: Final = 1_000.0


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
            st.text(frame.mirror)
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
        st.text(reason)
        st.text("Mend it and load this page again.")


def _sentence(trouble: Trouble) -> str:
    return f"{WORDS[trouble.level]}  {trouble.text}"


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
                st.text(each.label)
                st.text(each.value)
                st.text(each.detail)
                st.text(each.age.text)


def state(slug: str, shown: Shown, level: Level) -> None:
    """Draw one word large, with its reasons beneath."""
    with st.container(key=f"state_{level}_{slug}"):
        st.text(shown.value)
        st.text(shown.detail)


def bars(slug: str, rows: Sequence[Limit]) -> None:
    """Draw limits as bars of what is used."""
    for place, row in enumerate(rows):
        with st.container(key=f"limit_{row.level}_{slug}_{place}"):
            st.text(row.name)
            st.text(row.used)
            st.progress(row.frac if row.frac is not None else 0.0)
            st.text(row.headroom)


def processes(rows: Sequence[Process]) -> None:
    """Draw one line for each process."""
    for place, row in enumerate(rows):
        with st.container(key=f"process_{row.level}_{place}"):
            st.text(row.name)
            st.text(row.state)
            st.text(row.age.text)
            st.text(row.detail)


def alerts(found: Alerts) -> None:
    """Draw each alert with its whole text, or the words for none."""
    if not found.rows:
        with st.container(key="empty_alerts"):
            st.text(found.empty)
    for place, row in enumerate(found.rows):
        with st.container(key=f"alert_{row.level}_{place}"):
            st.text(row.title)
            st.text(row.when)
            st.text(row.text)
    if found.more:
        with st.container(key="empty_more_alerts"):
            st.text(f"and {found.more} older")


def facts(slug: str, found: Facts) -> None:
    """Draw names and values in two columns."""
    for place, (name, value) in enumerate(found.rows):
        with st.container(key=f"fact_{slug}_{place}"):
            st.text(name)
            st.text(value)


def table(slug: str, shown: Table) -> None:
    """Draw rows of text, or the words for none."""
    if not shown.rows:
        with st.container(key=f"empty_{slug}"):
            st.text(shown.empty)
        return
    columns = zip(*shown.rows, strict=True)
    st.dataframe(
        {column.title: cells for column, cells in zip(shown.columns, columns, strict=True)},
        hide_index=True,
        height="content",
        column_config={
            column.title: st.column_config.TextColumn(
                alignment="right" if column.right else "left", pinned=place == 0
            )
            for place, column in enumerate(shown.columns)
        },
        key=f"table_{slug}",
    )


# ---------------------------------------------------------------- charts


def nav_chart(series: NavSeries) -> None:
    """Draw NAV with its drawdown beneath, over the same minutes."""
    if series.note is not None:
        with st.container(key="empty_nav_series"):
            st.text(series.note)
        return
    columns = {
        "time": [MS_PER_S * ts for ts in series.ts],
        "nav": series.nav_usd,
        "drawdown": series.drawdown_pct,
    }
    line = {"type": "line", "color": LINE_COLOUR, "strokeWidth": 1.6}
    fall = {"type": "area", "color": FALL_COLOUR, "opacity": 0.35, "line": {"color": FALL_COLOUR}}
    with st.container(key="chart_nav"):
        st.vega_lite_chart(columns, _over_time(line, "nav", "NAV, USD", 330, ",~f"))
    with st.container(key="chart_drawdown"):
        st.vega_lite_chart(columns, _over_time(fall, "drawdown", "Drawdown, %", 200, "~g"))


def _over_time(
    mark: dict[str, Any], field: str, title: str, height: int, numbers: str
) -> dict[str, Any]:
    """Specify one chart over UTC time; the tooltip also says the reader's own."""
    time = {"field": "time", "type": "temporal"}
    value = {"field": field, "type": "quantitative"}
    # Axes of one width keep the minutes of two charts under each other.
    numbered = {"title": None, "format": numbers, "minExtent": 56, "maxExtent": 56, "tickCount": 4}
    # Over a few minutes there are ticks between the minutes, which would repeat their labels.
    label = "utcseconds(datum.value) ? '' : utcFormat(datum.value, '%H:%M')"
    hours = {"title": "UTC", "tickCount": 6, "labelExpr": label}
    return {
        "height": height,
        "title": {"text": title, "anchor": "start", "fontSize": 12, "fontWeight": "normal"},
        "mark": {**mark, "invalid": "break-paths-show-path-domains"},
        "encoding": {
            "x": {**time, "scale": {"type": "utc"}, "axis": hours},
            "y": {**value, "axis": numbered, "scale": {"zero": False}},
            "tooltip": [
                {**time, "title": "UTC", "timeUnit": "utcmonthdatehoursminutes"},
                {**time, "title": "Local", "timeUnit": "monthdatehoursminutes"},
                {**value, "title": title, "format": ",.2f"},
            ],
        },
    }
