"""The page: `streamlit run dashboard/app.py` from the project's root. Here is the order of pages."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

# Streamlit puts this file's folder on the path and not the project's. First, so that a copy of the
# project imports itself and not the one that is installed.
if sys.path[0] != str(Path(__file__).resolve().parents[1]):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboard import drawing, live, overview
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
        st.Page(live.page(overview.draw), title="Overview", url_path="overview", default=True),
    ]
    st.navigation(pages, position="top").run()


main()
