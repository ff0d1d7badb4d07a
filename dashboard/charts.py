"""The page's charts: values over time, counts in steps, one bar for each hour.

Colours are Okabe and Ito's. Chart data and the fields of a tooltip are text to Vega, never markup.
"""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from dashboard.nav_series import NavSeries
from dashboard.shown import Chart

LINE_COLOUR: Final = "#2b8cc4"
FALL_COLOUR: Final = "#d55e00"
COLOURS: Final = (
    "#2b8cc4",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#b8a800",
    "#8a8f98",
)
ROLES: Final = {
    "maker": ("#009e73", "circle"),
    "both": ("#e69f00", "diamond"),
    "taker": ("#d55e00", "square"),
}
MS_PER_S: Final = 1_000.0
TIMES: Final = ("time", "from", "to")
# Over a few minutes there are ticks between the minutes, which would repeat their labels.
HOURS: Final = {
    "title": "UTC",
    "tickCount": 6,
    "labelExpr": "utcseconds(datum.value) ? '' : utcFormat(datum.value, '%H:%M')",
}
# Axes of one width keep the minutes of two charts under each other.
NUMBERS: Final = {"title": None, "minExtent": 56, "maxExtent": 56, "tickCount": 4}


def nav(series: NavSeries) -> None:
    """Draw NAV with its drawdown beneath, over the same minutes."""
    note = series.note
    columns = {"time": series.ts, "nav": series.nav_usd, "drawdown": series.drawdown_pct}
    chart = Chart(columns, series.age, note)
    line = {"type": "line", "color": LINE_COLOUR, "strokeWidth": 1.6}
    fall = {"type": "area", "color": FALL_COLOUR, "opacity": 0.35, "line": {"color": FALL_COLOUR}}
    _draw("nav", chart, _over_time(line, "nav", "NAV, USD", 330, ",~f"))
    if note is None:
        _draw("drawdown", chart, _over_time(fall, "drawdown", "Drawdown, %", 200, ",~f"))


def agreement(chart: Chart) -> None:
    """Draw the share of pairs that agree, over time."""
    line = {"type": "line", "color": LINE_COLOUR, "strokeWidth": 1.6, "point": True}
    spec = _over_time(line, "agreement", "Agreement, % of pairs", 220, ",~f")
    spec["encoding"]["tooltip"].append(_told("decisions", "Decisions", ",d"))
    _draw("agreement", chart, spec)


def vetoes(chart: Chart) -> None:
    """Draw counts of vetoes, one colour for each reason."""
    start = {"field": "from", "type": "temporal"}
    reason = {"field": "reason", "type": "nominal"}
    spec = {
        "height": 320,
        "title": _title("Vetoes"),
        "mark": {"type": "bar", "orient": "vertical"},
        "encoding": {
            "x": {**start, "scale": {"type": "utc"}, "axis": HOURS},
            "x2": {"field": "to"},
            "y": {**_number("vetoes"), "stack": True, "axis": {**NUMBERS, "format": "d"}},
            "color": {**reason, "scale": {"range": COLOURS}, "legend": _legend()},
            "tooltip": [
                *_times("from"),
                {**reason, "title": "Reason"},
                _told("vetoes", "Vetoes", ",d"),
            ],
        },
    }
    _draw("vetoes", chart, spec)


def costs(chart: Chart) -> None:
    """Draw what each route cost, by who made the market: colour and shape both say it."""
    role = {"field": "role", "type": "nominal"}
    colours, shapes = zip(*ROLES.values(), strict=True)
    spec = _over_time(
        {"type": "point", "filled": True, "size": 55},
        "cost",
        "Cost of each route, bps",
        320,
        ",~f",
    )
    spec["encoding"] |= {
        "color": {**role, "scale": {"domain": [*ROLES], "range": colours}, "legend": _legend()},
        "shape": {**role, "scale": {"domain": [*ROLES], "range": shapes}, "legend": _legend()},
    }
    spec["encoding"]["tooltip"] += [
        {"field": name, "type": "nominal", "title": name.capitalize()}
        for name in ("symbol", "action", "role")
    ]
    _draw("costs", chart, spec)


def hours(chart: Chart) -> None:
    """Draw one bar for each hour of the day."""
    hour = {"field": "hour", "type": "ordinal"}
    spec = {
        "height": 240,
        "title": _title("Expectancy by hour of the day, bps of what was opened"),
        "mark": {"type": "bar", "color": LINE_COLOUR},
        "encoding": {
            "x": {
                **hour,
                "scale": {"domain": [f"{each:02}" for each in range(24)]},
                "axis": {"title": "Hour, UTC", "labelAngle": 0, "labelOverlap": True},
            },
            "y": {**_number("expectancy"), "axis": {**NUMBERS, "format": ",~f"}},
            "tooltip": [
                {**hour, "title": "Hour, UTC"},
                _told("expectancy", "Expectancy, bps", ",.2f"),
                _told("trades", "Trades", ",d"),
            ],
        },
    }
    _draw("hours", chart, spec)


def _draw(slug: str, chart: Chart, spec: dict[str, Any]) -> None:
    if chart.note is not None:
        with st.container(key=f"empty_{slug}"):
            st.text(chart.note)
        return
    columns = {
        name: [None if each is None else MS_PER_S * float(each) for each in values]
        if name in TIMES
        else values
        for name, values in chart.columns.items()
    }
    with st.container(key=f"chart_{slug}"):
        st.vega_lite_chart(columns, spec)


def _over_time(
    mark: dict[str, Any], field: str, title: str, height: int, numbers: str
) -> dict[str, Any]:
    """Specify one chart over UTC time; the tooltip also says the reader's own."""
    return {
        "height": height,
        "title": _title(title),
        "mark": {**mark, "invalid": "break-paths-show-path-domains"},
        "encoding": {
            "x": {"field": "time", "type": "temporal", "scale": {"type": "utc"}, "axis": HOURS},
            "y": {
                **_number(field),
                "axis": {**NUMBERS, "format": numbers},
                "scale": {"zero": False},
            },
            "tooltip": [*_times("time"), _told(field, title, ",.2f")],
        },
    }


def _number(field: str) -> dict[str, str]:
    return {"field": field, "type": "quantitative"}


def _told(field: str, title: str, numbers: str) -> dict[str, str]:
    return {**_number(field), "title": title, "format": numbers}


def _times(field: str) -> list[dict[str, str]]:
    time = {"field": field, "type": "temporal"}
    return [
        {**time, "title": "UTC", "timeUnit": "utcmonthdatehoursminutes"},
        {**time, "title": "Local", "timeUnit": "monthdatehoursminutes"},
    ]


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "anchor": "start", "fontSize": 12, "fontWeight": "normal"}


def _legend() -> dict[str, Any]:
    return {"title": None, "orient": "bottom", "columns": 3, "labelLimit": 220, "offset": 4}
