"""Tell systemd how the service is (sd_notify(3)); silent where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket

_PATIENCE_SECONDS = 2.0


def notify(state: str) -> None:
    """Send `state`, such as ``READY=1``, to the service manager that started us, if one did.

    Parameters
    ----------
    state
        Assignments, one a line, as sd_notify(3) has them.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # a name that starts with @ lies in Linux's abstract namespace, which begins with a zero byte
    path = "\0" + address[1:] if address.startswith("@") else address
    # a manager that does not take it now is no reason for the node to stop
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        # one that takes nothing more would hold the node, and keep it from stopping
        sender.settimeout(_PATIENCE_SECONDS)
        sender.sendto(state.encode(), path)
