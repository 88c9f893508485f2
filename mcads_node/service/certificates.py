"""Telling of the node's certificate, and reading it again while the node runs."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from mcads_node.errors import ConfigError
from mcads_node.tls import Tls, now

log = structlog.stdlib.get_logger(__name__)


def tell_of(tls: Tls | None) -> None:
    """Log until when the certificate is valid, and what is wrong with it."""
    if tls is None:
        return
    log.info("tls.read", expires_at=tls.expires_at.isoformat())
    for fault in tls.faults(now()):
        log.error("tls.invalid", reason=f"the node's certificate: {fault}")
    for caution in tls.cautions(now()):
        log.warning("tls.doubtful", reason=caution)


def read_again(tls: Tls | None, note: Callable[[str, str], None]) -> None:
    """Read the files again; where they cannot be used, what was used goes on being used.

    Parameters
    ----------
    tls
        None: there is nothing to read.
    note
        Puts on record what was done, and why.
    """
    if tls is None:
        return
    try:
        tls.reload()
    except ConfigError as error:
        note("certificates kept", str(error))
        log.error("tls.kept", reason=str(error))
        return
    note("certificates reloaded", f"valid until {tls.expires_at.isoformat()}")
    tell_of(tls)
