"""A benchmark's figures, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

WIDTH = 140

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def tell(title: str, rows: Sequence[Struct], *, as_json: bool) -> None:
    """Print the rows in the one form or the other."""
    if as_json:
        click.echo(msgspec.json.encode(rows))
    else:
        show(title, rows)


def show(title: str, rows: Sequence[Struct]) -> None:
    """Print one row per value, its fields as columns."""
    console = Console(width=None if Console().is_terminal else WIDTH)
    grid = Table(title=title)
    for field in msgspec.structs.fields(rows[0]):
        grid.add_column(field.name, justify="right", overflow="fold")
    for row in rows:
        grid.add_row(*map(_text, msgspec.structs.astuple(row)))
    console.print(grid)


def _text(figure: object) -> str:
    if isinstance(figure, tuple):
        return " .. ".join(map(_text, figure))
    return f"{figure:.3g}" if isinstance(figure, float) else str(figure)
