"""The page: `streamlit run dashboard/app.py` from the project's root. Here is the order of pages."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

# Streamlit puts this file's folder on the path and not the project's. First, so that a copy of the
# project imports itself and not the one that is installed.
if sys.path[0] != str(Path(__file__).resolve().parents[1]):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboard import drawing, intel, live, orders, overview, positions, risk, shadow, system
from execution.errors import ConfigError


def main() -> None:
    """Draw the page that the address names."""
    st.set_page_config(page_title="Hedge", layout="wide")
    drawing.stylesheet()
    try:
        live.start()
    except ConfigError as error:
        drawing.refusal(str(error))
        return
    pages = [
        st.Page(live.page(overview.draw, *overview.JOURNALS), title="Overview", default=True),
        st.Page(
            live.page(positions.draw, *positions.JOURNALS, downloads=positions.DOWNLOADS),
            title="Positions",
            url_path="positions",
        ),
        st.Page(
            live.page(risk.draw, *risk.JOURNALS, downloads=risk.DOWNLOADS),
            title="Risk",
            url_path="risk",
        ),
        st.Page(
            live.page(orders.draw, *orders.JOURNALS, downloads=orders.DOWNLOADS),
            title="Orders & router",
            url_path="orders",
        ),
        st.Page(live.page(intel.draw, *intel.JOURNALS), title="Intel", url_path="intel"),
        st.Page(
            live.page(shadow.draw, *shadow.JOURNALS, downloads=shadow.DOWNLOADS),
            title="Shadow",
            url_path="shadow",
        ),
        st.Page(
            live.page(system.draw, *system.JOURNALS, logs=True), title="System", url_path="system"
        ),
    ]
    st.navigation(pages, position="top").run()


main()
