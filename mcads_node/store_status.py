"""What the status of a C-STORE response means for the object: a table, and nothing that decides otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from mcads_node.backoff import ErrorKind

_SOP_CLASS_NOT_SUPPORTED = 0x0122

#: C-STORE statuses (PS3.4 table B.2-1, PS3.7 annex C): first, last, what they say of another attempt, words
_STATUSES: tuple[tuple[int, int, ErrorKind | None, str], ...] = (
    (0x0000, 0x0000, None, "success"),
    (0x0001, 0x0001, None, "warning"),
    (0x0107, 0x0107, None, "warning: attribute list error"),
    (0x0110, 0x0110, ErrorKind.TRANSIENT, "processing failure"),
    (0x0111, 0x0111, None, "the peer has it already"),
    (0x0116, 0x0116, None, "warning: attribute value out of range"),
    (0x0122, 0x0122, ErrorKind.PERMANENT, "SOP class not supported"),
    (0x0124, 0x0124, ErrorKind.PERMANENT, "not authorized"),
    (0x0213, 0x0213, ErrorKind.UNREACHABLE, "resource limitation"),
    (0xA700, 0xA7FF, ErrorKind.UNREACHABLE, "out of resources"),
    (0xA900, 0xA9FF, ErrorKind.PERMANENT, "data set does not match SOP class"),
    (0xB000, 0xBFFF, None, "warning"),
    (0xC000, 0xCFFF, ErrorKind.PERMANENT, "cannot understand"),
    (0xFE00, 0xFE00, ErrorKind.TRANSIENT, "canceled by the peer"),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one object."""

    #: None: stored. Else what the failure says of another attempt
    failure: ErrorKind | None
    #: C-STORE status; None where the peer gave none
    status: int | None
    #: one clause; may quote the peer's Error Comment, so not for logs; None for plain success
    reason: str | None
    #: the peer did not accept the object's SOP class in its transfer syntax: the object was not sent
    not_negotiated: bool = False

    @property
    def class_refused(self) -> bool:
        """Whether it is the object's SOP class that the peer does not take; not all say so at negotiation."""
        return self.not_negotiated or self.status == _SOP_CLASS_NOT_SUPPORTED

    @property
    def for_logs(self) -> str:
        """The reason without what the peer commented: that may name a patient."""
        plain = self if self.status is None else answer_of(self.status)
        return plain.reason or "success"


def answer_of(status: int, comment: str = "") -> Answer:
    """Interpret a C-STORE status; one that the standard does not know is a failure for good."""
    failure, words = next(
        ((failure, words) for first, last, failure, words in _STATUSES if first <= status <= last),
        (ErrorKind.PERMANENT, "unknown status"),
    )
    if status == 0x0000:
        return Answer(failure=None, status=status, reason=None)
    said = f": {comment}" if comment else ""
    return Answer(failure=failure, status=status, reason=f"status 0x{status:04X}, {words}{said}")
