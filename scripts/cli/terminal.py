"""What a command shows: text of files and exchanges cannot move the cursor or pass for other lines."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.text import Text

from execution.log_lines import escape


class Terminal(Console):
    """A console on which every text is plain, and one line."""

    def __init__(
        self, *, stderr: bool = False, soft_wrap: bool = False, piped_width: int | None = None
    ) -> None:
        """Write to standard output or error; `piped_width` holds where nobody has a window."""
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False
        )
        if piped_width is not None and not self.is_terminal:
            self.width = piped_width

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - the library's options
        """Return the text as it is shown: of a line, a title and a cell alike."""
        return super().render_str(escape(text), **options)


def say(text: str, *, err: bool = False) -> None:
    """Print one line."""
    click.echo(escape(text), err=err)
