"""Who is at the command line, for the record of events."""

from __future__ import annotations

import os
import pwd


def administrator() -> str:
    """Name the account that runs the verb, and who came to it by sudo."""
    number = os.geteuid()
    try:
        account = pwd.getpwuid(number).pw_name
    except KeyError:
        account = f"uid {number}"
    person = os.environ.get("SUDO_USER")
    return f"{person} (as {account})" if person and person != account else account
