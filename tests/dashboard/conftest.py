"""Puts this folder's support within reach, in whichever way pytest imports test files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--picture", action="store_true", help="take README's picture of the page")
    parser.addoption("--keep-pictures", metavar="DIR", help="copy the pictures of every page there")
