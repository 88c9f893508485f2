"""A syslog message of RFC 5424, as PS3.15 A.6 and A.7 fill it in, and its frame in a stream."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

#: facility 10, security and authorization messages
_FACILITY: Final = 10
#: severities: warning condition, normal but significant condition
WARNING: Final = 4
NOTICE: Final = 5

_APP_NAME: Final = "mcads-node"
_MSGID: Final = "DICOM+RFC3881"
#: RFC 5424 section 6.4: what follows is UTF-8
_BOM: Final = b"\xef\xbb\xbf"


def syslog_message(message: bytes, *, severity: int, at: datetime, host: str, process: int) -> bytes:
    """Put an audit message into a syslog message.

    Parameters
    ----------
    message
        XML, UTF-8.
    severity
        `WARNING` or `NOTICE`.
    at
        When it happened.
    host, process
        Name of this machine, and the process ID.
    """
    stamp = at.isoformat(timespec="milliseconds")
    # printable ASCII without spaces, at most 255 characters (section 6.2.4)
    name = re.sub(r"[^!-~]", "", host)[:255] or "-"
    priority = _FACILITY * 8 + severity
    header = f"<{priority}>1 {stamp} {name} {_APP_NAME} {process} {_MSGID} - "
    return header.encode("ascii") + _BOM + message


def octet_counted(message: bytes) -> bytes:
    """Frame a message for a stream (RFC 5425 section 4.3, RFC 6587 section 3.4.1)."""
    return b"%d %s" % (len(message), message)
