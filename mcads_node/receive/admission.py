"""Who may open an association: a pure decision, with the reasons of PS3.8 table 9-21.

Nobody may send unless listed. AE titles are not authentication: the address must fit as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from mcads_node.instance import Requestor

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ, and why it was sent."""

    #: 1 permanent, 2 transient
    result: int
    #: 1 service-user, 2 service-provider (ACSE), 3 service-provider (presentation)
    source: int
    #: meaning depends on the source
    diagnostic: int
    #: one clause for an administrator
    reason: str


#: what is answered where no decision could be made: nobody comes in because of a fault in here
UNDECIDED = Rejection(
    result=2, source=3, diagnostic=1, reason="whether it may associate could not be decided"
)


@dataclass(frozen=True, kw_only=True)
class AllowedRequestor:
    """A peer that may send."""

    #: calling AE title
    ae_title: str
    #: IP address or network it calls from, such as ``10.20.0.0/16``
    address: str
    #: AE titles of ours that it may call; empty: the node's own
    called_ae_titles: tuple[str, ...] = ()
    #: `address`, parsed
    network: _Network = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", ipaddress.ip_network(self.address, strict=False))


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The list of requestors, and how many may be connected at a time."""

    #: the node's own AE title
    ae_title: str
    requestors: tuple[AllowedRequestor, ...]
    max_associations: int

    def decide(self, requestor: Requestor, open_associations: int, congested: bool) -> Rejection | None:
        """Decide on an association request; None admits it.

        Parameters
        ----------
        requestor
            Who asks.
        open_associations
            Admitted and not yet ended, without this one.
        congested
            The node has no room for more objects.
        """
        known = [each for each in self.requestors if each.ae_title == requestor.ae_title]
        fitting = [each for each in known if _lies_in(requestor.address, each.network)]
        if not fitting:
            reason = (
                "its address is not one listed for this AE title" if known else "its AE title is not listed"
            )
            return Rejection(result=1, source=1, diagnostic=3, reason=f"{reason} in requestors")
        if requestor.called_ae_title not in self._callable_by(fitting):
            ours = ", ".join(sorted(self._callable_by(fitting)))
            return Rejection(result=1, source=1, diagnostic=7, reason=f"it may call us only as {ours}")
        if congested:
            return Rejection(result=2, source=3, diagnostic=1, reason="no room for more objects")
        if open_associations >= self.max_associations:
            reason = f"all {self.max_associations} associations (node.max_associations) are in use"
            return Rejection(result=2, source=3, diagnostic=2, reason=reason)
        return None

    def _callable_by(self, requestors: Iterable[AllowedRequestor]) -> set[str]:
        return {title for each in requestors for title in each.called_ae_titles or (self.ae_title,)}


def plain_address(address: str) -> str:
    """Write an IPv4 address that a dual-stack socket shows as ``::ffff:10.0.0.1`` in its own way."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _lies_in(address: str, network: _Network) -> bool:
    return ipaddress.ip_address(plain_address(address)) in network
