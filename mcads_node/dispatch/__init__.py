"""Dispatch: claims workitems, submits them to compute, renews leases, commits what comes back.

``dispatcher`` is the loop, ``briefing`` what a worker is told, ``ledger`` what becomes of what it gave back.
"""

from mcads_node.dispatch.dispatcher import Dispatcher, DispatchSettings

__all__ = ["DispatchSettings", "Dispatcher"]
