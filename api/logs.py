"""Logging of a whole process: JSON lines in production, readable ones elsewhere.

The service's own lines are written directly; those of libraries, which use the standard library's
logging, get the same form.
"""

import logging
import logging.config
import sys
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from api.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's log to standard error in one format."""
    readable = settings.env == "development"
    handler = {"class": "logging.StreamHandler", "formatter": "line"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": _formatter(readable)},
            "handlers": {"stderr": handler},
            "root": {"handlers": ["stderr"], "level": settings.log_level},
        }
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_logger_name,
            *([*_STAMPED, structlog.dev.ConsoleRenderer()] if readable else [_json]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=_Readable if readable else _Lines,
        cache_logger_on_first_use=True,
    )


class _Lines(structlog.BytesLogger):
    """Writes bytes to standard error, a line a call."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stderr.buffer)
        self.name = name


class _Readable(structlog.WriteLogger):
    """Writes text to standard error, a line a call."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stderr)
        self.name = name


_STAMPED: tuple[Any, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_JSON: tuple[Any, ...] = (
    structlog.processors.dict_tracebacks,
    structlog.processors.JSONRenderer(),
)


def _add_logger_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _json(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    # One function for what structlog has one each for: every request writes a line.
    event["level"] = level
    event["timestamp"] = datetime.now(UTC)
    if "exc_info" in event:
        event = structlog.processors.dict_tracebacks(logger, level, event)
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


def _formatter(readable: bool) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.dev.ConsoleRenderer()] if readable else _JSON),
        ],
        "foreign_pre_chain": [
            structlog.contextvars.merge_contextvars,
            *_STAMPED,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=()),
        ],
    }
