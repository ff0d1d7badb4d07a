"""How a process of the suite logs: one line per record on standard error, its time in UTC."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

TEXT_CHARS = 300


class LineFormatter(logging.Formatter):
    """One line per record; only a traceback has lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  the library's signature
        """Return the record's time, as in 2026-01-31T12:00:00.000Z."""
        moment = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="milliseconds") + "Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the library's name
        """Return the line, without what an input could have smuggled into it."""
        return escape(super().formatMessage(record))


def log_to_stderr() -> None:
    """Send every log line of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def escape(text: str) -> str:
    """Make line breaks and control characters visible."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """Make any text fit for one field of a file or log."""
    return escape(text)[:TEXT_CHARS]
