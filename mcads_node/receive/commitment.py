"""Answers to requests for Storage Commitment that come over an association of the peer's own.

Whoever may send may also answer. Besides, a destination may answer from its configured host under its
configured AE title: on such an association nothing else is accepted but a C-ECHO. Whose answer it is, is told
by its transaction UID, which nobody can guess.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context

from mcads_node.commitment import PUSH_MODEL, TRANSFER_SYNTAXES, TakeReport, answer_report
from mcads_node.instance import Requestor
from mcads_node.receive.admission import Cause, plain_address
from mcads_node.receive.contexts import VERIFICATION

#: why those are turned away who may not send, of whom some may answer
STRANGERS = frozenset({Cause.UNKNOWN_AE_TITLE, Cause.UNKNOWN_ADDRESS})


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """A destination that is asked for Storage Commitment."""

    ae_title: str
    #: name or address
    host: str


class CommitmentReports:
    """Takes answers to requests for Storage Commitment.

    Parameters
    ----------
    ae_title
        What reporters call us.
    reporters
        Destinations that may answer though they may not send.
    take
        Records an answer; None where its transaction is not known.
    """

    def __init__(self, ae_title: str, reporters: Sequence[Reporter], take: TakeReport) -> None:
        self._ae_title = ae_title
        self._reporters = tuple(reporters)
        self._take = take
        #: addresses of hosts, as far as they were looked up
        self._known: frozenset[str] = frozenset(
            address for each in reporters if (address := _literal(each.host)) is not None
        )

    @property
    def context(self) -> PresentationContext:
        """The presentation context: the peer opens the association and is the SCP (PS3.7 annex D.3.3.4)."""
        context = build_context(PUSH_MODEL, list(TRANSFER_SYNTAXES))
        context.scu_role, context.scp_role = False, True
        return context

    @property
    def only_contexts(self) -> list[PresentationContext]:
        """All that a destination gets which may not send."""
        return [self.context, build_context(VERIFICATION)]

    def admits(self, requestor: Requestor) -> bool:
        """Whether a peer that may not send may answer; asks the name service for the address of its host."""
        hosts = {each.host for each in self._reporters if each.ae_title == requestor.ae_title}
        if requestor.called_ae_title != self._ae_title:
            return False
        is_one = any(requestor.address in _addresses(host) for host in hosts)
        if is_one:
            self._known |= {requestor.address}
        return is_one

    def knows(self, address: str) -> bool:
        """Whether an address is known to be a reporter's; asks no name service, so it may be unknown yet."""
        return address in self._known

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        """Handle EVT_N_EVENT_REPORT."""
        peer = event.assoc.requestor.ae_title.strip()
        return answer_report(event, self._take, peer), None


def _literal(host: str) -> str | None:
    """Give a host that is an address."""
    try:
        return plain_address(host)
    except ValueError:
        return None


def _addresses(host: str) -> set[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {plain_address(str(entry[4][0]).partition("%")[0]) for entry in found}
