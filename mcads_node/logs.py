"""The node's log: one line an event, on standard error, JSON where a machine reads it; never PHI."""

from __future__ import annotations

import logging
import sys
import warnings
from datetime import datetime

import structlog

#: Of pynetdicom. A peer that cannot be reached is told of by whoever wanted it, and one that sends what is
#: none by `association.malformed`: once and in one line. These tell of every six bytes of it, with a
#: traceback, do not say who it was, and quote what came.
_UNHEARD = (
    "acse",
    "association",
    "dimse",
    "dimse_primitives",
    "dul",
    "fsm",
    "pdu_primitives",
    "presentation",
    "transport",
    "utils",
)

#: One list for the process's life: a logger keeps the one it was first used with, and what takes this one's
#: place in it (`structlog.testing.capture_logs`) must reach every logger, however often it is configured.
_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def configure_logs(*, verbose: bool = False, as_json: bool | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Parameters
    ----------
    verbose
        Also events of level debug.
    as_json
        One JSON object a line; None: JSON unless standard error is a terminal.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(default=_in_json) if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_PROCESSORS[:-1],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("mcads_node").setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in _UNHEARD:
        logging.getLogger(f"pynetdicom.{name}").setLevel(logging.CRITICAL)
    # pydicom quotes values of the data set in its warnings: they may be PHI
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom")
    warnings.filterwarnings("ignore", module=r"highdicom")


def _in_json(value: object) -> str:
    """Write what JSON has no word for; moments as those of the log's own time stamps."""
    return value.isoformat() if isinstance(value, datetime) else repr(value)
