"""Logging of a whole process: JSON lines in production, readable ones elsewhere."""

import logging
import logging.config
from typing import Any

import structlog

from api.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's log to standard error in one format."""
    handler = {"class": "logging.StreamHandler", "formatter": "line"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": _formatter(settings)},
            "handlers": {"stderr": handler},
            "root": {"handlers": ["stderr"], "level": settings.log_level},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def _formatter(settings: Settings) -> dict[str, Any]:
    final: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if settings.env == "development":
        final.append(structlog.dev.ConsoleRenderer())
    else:
        final += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": final,
        "foreign_pre_chain": [*SHARED, structlog.stdlib.ExtraAdder(allow=())],
    }
