"""The log lines that controller, workers and agents write: text for people, or one JSON object a line for programs.

Both carry the identifiers of what the process works on (request, job, run, device), which ``log_context`` sets for a block
of code and for the threads and tasks that it starts.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Optional, TextIO

from edgefleet_agent.wire.redaction import redact

FIELDS = ("request_id", "job_id", "variant_id", "run_id", "device_id")
"""Identifiers that a line may carry."""

FORMATS = ("text", "json")
CHATTY = ("httpx", "dbos", "alembic")
"""Libraries that tell more than is wanted."""

_context: "ContextVar[Mapping[str, str]]" = ContextVar("edgefleet_log_context")

Identify = Callable[[], Mapping[str, str]]


@contextmanager
def log_context(**identifiers: Optional[str]) -> Iterator[None]:
    """Let every line of the block carry these identifiers; None leaves one out."""
    unknown = set(identifiers) - set(FIELDS)
    if unknown:
        raise ValueError("no identifier of a log line: {}; there are {}".format(sorted(unknown), ", ".join(FIELDS)))
    given = {name: value for name, value in identifiers.items() if value is not None}
    token = _context.set({**_context.get({}), **given})
    try:
        yield
    finally:
        _context.reset(token)


def current_identifiers() -> Mapping[str, str]:
    """What lines carry at this place."""
    return _context.get({})


class LineFormatter(logging.Formatter):
    """Shared by both formats: where the identifiers come from. ``identify`` adds those that a program knows otherwise."""

    def __init__(self, identify: Optional[Identify] = None) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime  # type: ignore[assignment,unused-ignore]  # typeshed's signature is narrower
        self._identify = identify

    def identifiers(self, record: logging.LogRecord) -> "dict[str, str]":
        """Identifiers of the record: its own (``extra``), the context's, the program's, in this order of precedence."""
        found = dict(self._identify()) if self._identify is not None else {}
        found.update(current_identifiers())
        found.update({name: str(getattr(record, name)) for name in FIELDS if getattr(record, name, None) is not None})
        return {name: found[name] for name in FIELDS if name in found}


class TextFormatter(LineFormatter):
    """``time LEVEL logger: message [run_id=... device_id=...]``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """The line without the exception."""
        carried = " ".join("{}={}".format(*pair) for pair in self.identifiers(record).items())
        return super().formatMessage(record) + (" [{}]".format(carried) if carried else "")

    def format(self, record: logging.LogRecord) -> str:
        """The line and its exception, without secrets."""
        return redact(super().format(record))


class JsonFormatter(LineFormatter):
    """One JSON object: time (RFC 3339 UTC), level, logger, message, identifiers, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line."""
        document = {
            "time": "{}.{:03d}Z".format(self.formatTime(record, self.datefmt), int(record.msecs)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.identifiers(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(document, ensure_ascii=False))


def configure_logging(
    form: str, level: int = logging.INFO, *, identify: Optional[Identify] = None, stream: Optional[TextIO] = None
) -> None:
    """Write the process's log lines in this format to ``stream``, standard error by default; once per process."""
    if form not in FORMATS:
        raise ValueError("{!r} is no format of log lines; there are {}".format(form, ", ".join(FORMATS)))
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(identify) if form == "json" else TextFormatter(identify))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        if not library.handlers:
            library.addHandler(logging.NullHandler())  # dbos adds one of its own, in another format, if it finds none
