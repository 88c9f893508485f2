"""The Query/Retrieve SCU, Study Root: C-FIND, C-MOVE to the node itself, C-GET over the same association."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context

from mcads_node.association.requesting import Caller, DestinationAddress, associated
from mcads_node.errors import PeerUnreachable, PermanentError, TransientError

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"

#: Explicit VR Little Endian first
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
#: answers to one question; more is a question that was too wide
MOST_ANSWERS = 5000

_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
#: PS3.4 tables C.4-1 to C.4-3
_WORDS = {
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0xA700: "out of resources",
    0xA701: "out of resources: it cannot count the matches",
    0xA702: "out of resources: it cannot perform the sub-operations",
    0xA801: "it does not know the node's AE title as a move destination",
    0xA900: "the identifier does not match the SOP class",
    0xB000: "some sub-operations failed",
    0xFE00: "it cancelled",
}


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """One object that came over an association of our own (C-GET)."""

    sop_class_uid: str
    sop_instance_uid: str
    #: of the presentation context
    context_sop_class_uid: str
    transfer_syntax_uid: str
    dataset: bytes


@dataclass(frozen=True, kw_only=True)
class Source:
    """An archive, and how it is asked."""

    #: its name in the configuration
    name: str
    address: DestinationAddress
    caller: Caller
    method: Literal["move", "get"]
    #: modalities of the series that are fetched
    modalities: tuple[str, ...]
    #: for C-GET: SOP classes that are taken, and in which transfer syntaxes
    storage_classes: tuple[str, ...] = ()
    transfer_syntaxes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """How a retrieval ended, as the archive tells it; what came is on record."""

    #: sub-operations that failed
    failed: int
    #: why it was not a success; None where it was
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Questions:
    """An open association for C-FIND."""

    association: Association
    source: Source

    def ask(self, identifier: Dataset) -> Iterator[Dataset]:
        """Give the answers to one question.

        Raises
        ------
        PeerUnreachable
            The association is gone, or no answer came in time.
        TransientError
            The archive cannot answer now.
        PermanentError
            It will not answer this.
        """
        for count, (status, answer) in enumerate(self.association.send_c_find(identifier, FIND)):
            code = _code(status, self.source)
            if code == _SUCCESS:
                return
            if code not in _PENDING:
                raise _failure("C-FIND", code, self.source)
            if count >= MOST_ANSWERS:
                raise PermanentError(f"{self.source.address}: more than {MOST_ANSWERS} answers: ask for less")
            # one that could not even be parsed is one that names nothing
            yield Dataset() if answer is None else answer


@contextlib.contextmanager
def asking(source: Source) -> Iterator[Questions]:
    """Open an association for questions to an archive.

    Raises
    ------
    PeerUnreachable
        No association could be made.
    PermanentError
        The archive takes no questions.
    """
    contexts = [build_context(FIND, list(TRANSFER_SYNTAXES))]
    with associated(source.address, contexts, source.caller) as (association, _):
        if not association.accepted_contexts:
            raise PermanentError(f"{source.address} does not take questions (C-FIND, Study Root)")
        yield Questions(association=association, source=source)


def retrieve(
    source: Source,
    identifier: Dataset,
    store: Callable[[Incoming], int],
    goes_on: Callable[[], bool] = lambda: True,
) -> Retrieved:
    """Have an archive send what the identifier names, and wait until it has.

    Parameters
    ----------
    source
        The archive; with the method `move` it sends to the node's own port, over an association of its own.
    identifier
        At the level of a series or of instances.
    store
        With the method `get`: keeps an object durably, and gives the C-STORE status.
    goes_on
        Asked after each response; False: the association is aborted.

    Raises
    ------
    PeerUnreachable
        No association could be made, it broke, or no response came in time.
    PermanentError
        The archive does not offer the service, or will not do this.
    TransientError
        It cannot do it now.
    """
    is_get = source.method == "get"
    model = GET if is_get else MOVE
    handlers = [(evt.EVT_C_STORE, lambda event: _answer(event, store))] if is_get else []
    roles = [build_role(each, scp_role=True) for each in source.storage_classes] if is_get else []
    with associated(source.address, _contexts(source, model), source.caller, handlers, roles) as (
        association,
        _,
    ):
        if not any(each.abstract_syntax == model for each in association.accepted_contexts):
            raise PermanentError(f"{source.address} does not offer C-{source.method.upper()} (Study Root)")
        if is_get:
            responses = association.send_c_get(identifier, GET)
        else:
            responses = association.send_c_move(identifier, source.caller.ae_title, MOVE)
        for status, _failed in responses:
            code = _code(status, source)
            if code in _PENDING:
                if not goes_on():
                    raise TransientError(f"{source.address}: given up, for the node is stopping")
                continue
            return _ended(f"C-{source.method.upper()}", code, status, source)
    raise PeerUnreachable(f"{source.address} ended without a final response")


def _contexts(source: Source, model: str) -> list[PresentationContext]:
    contexts = [build_context(model, list(TRANSFER_SYNTAXES))]
    if model == GET:
        # one for each transfer syntax: so the archive may send an object as it has it
        contexts += [
            build_context(sop_class, syntax)
            for sop_class in source.storage_classes
            for syntax in source.transfer_syntaxes
        ]
    return contexts


def _answer(event: evt.Event, store: Callable[[Incoming], int]) -> int:
    request = cast(C_STORE, event.request)
    data = request.DataSet
    return store(
        Incoming(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            context_sop_class_uid=str(event.context.abstract_syntax),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            dataset=b"" if data is None else data.getvalue(),
        )
    )


def _code(status: Dataset, source: Source) -> int:
    code = status.get("Status")
    if code is None:
        raise PeerUnreachable(f"{source.address} gave no answer in time, or the association was lost")
    return int(code)


def _ended(service: str, code: int, status: Dataset, source: Source) -> Retrieved:
    failed = int(status.get("NumberOfFailedSuboperations") or 0)
    completed = int(status.get("NumberOfCompletedSuboperations") or 0)
    if code == _SUCCESS and not failed:
        return Retrieved(failed=0, reason=None)
    if code in (_SUCCESS, 0xB000) or completed:
        reason = f"{source.address}: {failed} sub-operation(s) failed (status 0x{code:04X})"
        return Retrieved(failed=failed, reason=reason)
    raise _failure(service, code, source)


def _failure(service: str, code: int, source: Source) -> TransientError | PermanentError:
    words = _WORDS.get(code, "it failed")
    text = f"{source.address}: {service} ended with status 0x{code:04X}: {words}"
    lasting = code in (0x0122, 0x0124, 0xA801) or 0xA900 <= code <= 0xA9FF
    return PermanentError(text) if lasting else TransientError(text)
