"""Tell systemd how the service is (sd_notify(3)); silent where nobody listens."""

from __future__ import annotations

import os
import socket


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
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), path)
