"""Who may open an association: a pure decision, with the reasons of PS3.8 table 9-21.

Nobody may send unless listed. AE titles are not authentication: the address must fit as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mcads_node.instance import Requestor

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Cause(StrEnum):
    """Why someone was turned away, in a word that can be counted."""

    UNKNOWN_AE_TITLE = "unknown_ae_title"
    UNKNOWN_ADDRESS = "unknown_address"
    CALLED_AE_TITLE = "called_ae_title"
    #: all associations, or connections, are in use
    LIMIT = "limit"
    #: all associations of this requestor are in use
    REQUESTOR_LIMIT = "requestor_limit"
    CONGESTED = "congested"
    #: the association came about, without this SOP class
    NO_CONTEXT = "no_context"
    #: the association was ended for an object that is too large
    TOO_LARGE = "too_large"
    #: no TLS came about, so that nobody knows who it was
    TLS = "tls"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why someone was turned away."""

    cause: Cause
    #: one clause for an administrator
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rejection(Refusal):
    """An A-ASSOCIATE-RJ, and why it was sent."""

    #: 1 permanent, 2 transient
    result: int
    #: 1 service-user, 2 service-provider (ACSE), 3 service-provider (presentation)
    source: int
    #: meaning depends on the source
    diagnostic: int


_CONGESTION = {"result": 2, "source": 3, "diagnostic": 1}
_LOCAL_LIMIT = {"result": 2, "source": 3, "diagnostic": 2}

#: what is answered where no decision could be made: nobody comes in because of a fault in here
UNDECIDED = Rejection(
    **_CONGESTION, cause=Cause.OTHER, reason="whether it may associate could not be decided"
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
    #: of one calling AE title; None: no limit of its own
    max_associations_per_requestor: int | None = None

    def decide(
        self, requestor: Requestor, open_associations: Sequence[str], congested: bool
    ) -> Rejection | None:
        """Decide on an association request; None admits it.

        Parameters
        ----------
        requestor
            Who asks.
        open_associations
            Calling AE titles of those that were admitted and have not ended, without this one.
        congested
            The node has no room for more objects.
        """
        known = [each for each in self.requestors if each.ae_title == requestor.ae_title]
        fitting = [each for each in known if _lies_in(requestor.address, each.network)]
        if not fitting:
            return _stranger(known_ae_title=bool(known))
        if requestor.called_ae_title not in self._callable_by(fitting):
            reason = f"it may call us only as {', '.join(sorted(self._callable_by(fitting)))}"
            return Rejection(result=1, source=1, diagnostic=7, cause=Cause.CALLED_AE_TITLE, reason=reason)
        if congested:
            return Rejection(**_CONGESTION, cause=Cause.CONGESTED, reason="no room for more objects")
        return self._limit(requestor, open_associations)

    def lists(self, address: str) -> bool:
        """Whether an address is one of any requestor's."""
        return any(_lies_in(address, each.network) for each in self.requestors)

    def _limit(self, requestor: Requestor, open_associations: Sequence[str]) -> Rejection | None:
        if len(open_associations) >= self.max_associations:
            reason = f"all {self.max_associations} associations (node.max_associations) are in use"
            return Rejection(**_LOCAL_LIMIT, cause=Cause.LIMIT, reason=reason)
        own = self.max_associations_per_requestor
        if own is not None and open_associations.count(requestor.ae_title) >= own:
            reason = f"all its {own} associations (node.max_associations_per_requestor) are in use"
            return Rejection(**_LOCAL_LIMIT, cause=Cause.REQUESTOR_LIMIT, reason=reason)
        return None

    def _callable_by(self, requestors: Iterable[AllowedRequestor]) -> set[str]:
        return {title for each in requestors for title in each.called_ae_titles or (self.ae_title,)}


def _stranger(*, known_ae_title: bool) -> Rejection:
    if known_ae_title:
        cause, what = Cause.UNKNOWN_ADDRESS, "its address is not one listed for this AE title"
    else:
        cause, what = Cause.UNKNOWN_AE_TITLE, "its AE title is not listed"
    return Rejection(result=1, source=1, diagnostic=3, cause=cause, reason=f"{what} in requestors")


def plain_address(address: str) -> str:
    """Write an IPv4 address that a dual-stack socket shows as ``::ffff:10.0.0.1`` in its own way."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _lies_in(address: str, network: _Network) -> bool:
    return ipaddress.ip_address(plain_address(address)) in network
