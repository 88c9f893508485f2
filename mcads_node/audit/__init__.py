"""The audit trail: what DICOM PS3.15 A.5 has a node tell, sent to an audit repository by syslog.

::

    AuditTrail ── adds up what belongs together, in a bounded queue ── a thread ── Sender ── repository
    (trail)                                            messages (message), framed (syslog), sent (sender)

Nobody who reports an event waits for the repository or fails with it. What the queue cannot hold is counted
and logged. The durable record of the node itself is the table of events in its database.
"""

from mcads_node.audit.message import Direction, Identity, Peer, Transfer
from mcads_node.audit.sender import Repository, Sender, Transport
from mcads_node.audit.trail import AuditTrail

__all__ = [
    "AuditTrail",
    "Direction",
    "Identity",
    "Peer",
    "Repository",
    "Sender",
    "Transfer",
    "Transport",
]
