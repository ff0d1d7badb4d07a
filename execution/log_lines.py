"""How a process of the suite logs: one line per record on standard error, its time in UTC."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

TEXT_CHARS = 300
LINE_CHARS = 4_000  # of one line of a log
INDENT = "    "


class LineFormatter(logging.Formatter):
    """One line per record; only a traceback has lines of its own, which are set in."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  the library's signature
        """Return the record's time, as in 2026-01-31T12:00:00.000Z."""
        moment = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="milliseconds") + "Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the library's name
        """Return the line, without what an input could have smuggled into it."""
        return escape(super().formatMessage(record))[:LINE_CHARS]

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  the library's name
        """Return the traceback; the text of an error may be anybody's, and could pass for records."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"{INDENT}{escape(line)}"[:LINE_CHARS] for line in lines)


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
