"""The Storage SCU and the Verification SCU: objects to one peer over one association, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from mcads_node.association.requesting import Caller, DestinationAddress, Heard, associated
from mcads_node.backoff import ErrorKind
from mcads_node.errors import InstanceUnreadable, PeerUnreachable, TransientError
from mcads_node.instance import is_valid_uid
from mcads_node.store_status import Answer, answer_of

__all__ = [
    "Answer",
    "Caller",
    "DestinationAddress",
    "EchoResult",
    "ObjectUnavailable",
    "Outgoing",
    "echo",
    "negotiate",
    "send",
]

_VERIFICATION = "1.2.840.10008.1.1"
#: PS3.8 section 9.3.2: context IDs are the odd numbers up to 255
MAX_CONTEXTS = 128
#: bytes a second below which a transfer is taken to have stopped
_SLOWEST_LINK = 100_000

#: byte at which the value of File Meta Information Group Length (0002,0000) ends, the first element
_END_OF_GROUP_LENGTH = 144

_NO_REASON = 2
#: PS3.8 table 9-18: results of a proposed presentation context
_CONTEXT_RESULTS = {
    1: "rejected by its user",
    2: "no reason given",
    3: "SOP class not supported",
    4: "transfer syntax not supported",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Outgoing:
    """One object to send: a Part 10 file, and what its file meta information says."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    #: SHA-256 of the whole file, hex: a file that no longer has it is not sent; None where unknown
    digest: str | None = None
    #: the digest is of the data set alone, as that of an object that was received is
    digest_of_data_set: bool = False

    @classmethod
    def of_file(cls, path: Path) -> Outgoing:
        """Describe a Part 10 file.

        Raises
        ------
        InstanceUnreadable
            It is none, or its file meta information is incomplete.
        """
        try:
            meta = read_file_meta_info(path)
        except (OSError, InvalidDicomError) as error:
            raise InstanceUnreadable(f"{path} is not a DICOM Part 10 file: {error}") from error
        keywords = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
        missing = [keyword for keyword in keywords if keyword not in meta]
        if missing:
            raise InstanceUnreadable(f"{path}: file meta information lacks {', '.join(missing)}")
        sop_class, sop_instance, syntax = (str(meta[keyword].value) for keyword in keywords)
        return cls(
            path=path, sop_class_uid=sop_class, sop_instance_uid=sop_instance, transfer_syntax_uid=syntax
        )


class ObjectUnavailable(TransientError):
    """The file of an object cannot be read just now: that is about this machine, not about the peer."""

    def __init__(self, outgoing: Outgoing, cause: OSError) -> None:
        self.outgoing = outgoing
        super().__init__(f"the file of an object cannot be read: {cause.strerror or type(cause).__name__}")


@dataclass(frozen=True, kw_only=True)
class EchoResult:
    """How a C-ECHO went."""

    #: from request to response; None where it failed
    milliseconds: float | None
    #: why it failed
    reason: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the peer answered with success."""
        return self.milliseconds is not None


def send(
    destination: DestinationAddress,
    objects: Sequence[Outgoing],
    on_answer: Callable[[Outgoing, Answer], None],
    caller: Caller,
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Send objects over one association, each in the encoding it is stored in.

    Parameters
    ----------
    destination, caller
        Who to, and who from.
    objects
        Of at most 128 kinds (SOP class and transfer syntax).
    on_answer
        Told what became of each object before the next one is sent; what it raises ends the association.
    goes_on
        Asked before each object; where it says no, the rest stays unsent.

    Raises
    ------
    PeerUnreachable
        No association could be made, or it broke, or the peer has no room. Objects that `on_answer` was told
        of are dealt with, the others were not sent.
    ObjectUnavailable
        A file could not be read, though it is there; likewise.
    """
    kinds = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in objects})
    if len(kinds) > MAX_CONTEXTS:
        raise ValueError(f"{len(kinds)} kinds of object, at most {MAX_CONTEXTS} fit into one association")
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
    with associated(destination, contexts, caller) as (association, heard):
        results = _results(association)
        for number, outgoing in enumerate(objects):
            if not goes_on():
                return
            answer = _hindrance(outgoing, results)
            if answer is None:
                answer = _store(association, outgoing, number % 0xFFFF + 1, heard)
            on_answer(outgoing, answer)
            if answer.failure is ErrorKind.UNREACHABLE:
                raise PeerUnreachable(f"{destination}: {answer.for_logs}")


def negotiate(
    destination: DestinationAddress, kinds: Collection[tuple[str, str]], caller: Caller
) -> dict[tuple[str, str], str]:
    """Ask a peer which kinds of object it would take, without sending any.

    Parameters
    ----------
    destination, caller
        Who to, and who from.
    kinds
        SOP class and transfer syntax, at most 128 pairs; each is proposed in a context of its own.

    Returns
    -------
    dict
        The kinds that the peer rejects, with the reason it gives.

    Raises
    ------
    PeerUnreachable
        No association could be made.
    """
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(set(kinds))]
    with associated(destination, contexts, caller) as (association, _):
        return {kind: _words(result) for kind, result in _results(association).items() if result != 0}


def echo(destination: DestinationAddress, caller: Caller) -> EchoResult:
    """Ask whether a peer is there and takes us."""
    try:
        with associated(destination, [build_context(_VERIFICATION)], caller) as (association, _):
            if not association.accepted_contexts:
                return EchoResult(milliseconds=None, reason=f"{destination} does not support Verification")
            begun = time.perf_counter()
            status = association.send_c_echo().get("Status")
            elapsed = time.perf_counter() - begun
    except PeerUnreachable as error:
        return EchoResult(milliseconds=None, reason=str(error))
    if status is None:
        return EchoResult(milliseconds=None, reason=f"{destination} did not answer the C-ECHO")
    if status != 0x0000:
        return EchoResult(milliseconds=None, reason=f"{destination} answered with status 0x{status:04X}")
    return EchoResult(milliseconds=elapsed * 1000)


def _results(association: Association) -> dict[tuple[str, str], int]:
    """Tell the result of each proposed context: 0 is acceptance."""
    negotiated = [*association.accepted_contexts, *association.rejected_contexts]
    results = {each.context_id: each.result or 0 for each in negotiated}
    # by what was proposed: the transfer syntax of a rejected context means nothing (PS3.8 section 9.3.3.2)
    return {
        (str(each.abstract_syntax), str(each.transfer_syntax[0])): results.get(each.context_id, _NO_REASON)
        for each in association.requestor.requested_contexts
    }


def _hindrance(outgoing: Outgoing, results: dict[tuple[str, str], int]) -> Answer | None:
    """Why an object need not be tried."""
    if not (is_valid_uid(outgoing.sop_instance_uid) and is_valid_uid(outgoing.sop_class_uid)):
        reason = "its SOP Class or Instance UID is not a UID, so that no C-STORE command can name it"
        return Answer(failure=ErrorKind.PERMANENT, status=None, reason=reason)
    damage = _damage(outgoing)
    if damage is not None:
        return Answer(failure=ErrorKind.PERMANENT, status=None, reason=damage)
    result = results.get((outgoing.sop_class_uid, outgoing.transfer_syntax_uid), _NO_REASON)
    if result == 0:
        return None
    reason = (
        f"the peer does not accept SOP class {outgoing.sop_class_uid} "
        f"in transfer syntax {outgoing.transfer_syntax_uid}: {_words(result)}"
    )
    return Answer(failure=ErrorKind.PERMANENT, status=None, reason=reason, not_negotiated=True)


def _words(result: int) -> str:
    return _CONTEXT_RESULTS.get(result, f"result {result}")


def _damage(outgoing: Outgoing) -> str | None:
    try:
        with _readable(outgoing), outgoing.path.open("rb") as file:
            if outgoing.digest_of_data_set:
                # what the node itself put before it ends as its group length says (PS3.10 section 7.1)
                file.seek(
                    _END_OF_GROUP_LENGTH + int.from_bytes(file.read(_END_OF_GROUP_LENGTH)[-4:], "little")
                )
            digest = hashlib.file_digest(file, "sha256").hexdigest() if outgoing.digest else None
    except FileNotFoundError as error:
        return f"its file cannot be read: {error.strerror or error}"
    return None if digest == outgoing.digest else "its file is damaged: its SHA-256 is not the one on record"


@contextlib.contextmanager
def _readable(outgoing: Outgoing) -> Iterator[None]:
    """Tell what may be over in a minute (input/output, too many open files) from a file that is gone."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ObjectUnavailable(outgoing, error) from error


def _store(association: Association, outgoing: Outgoing, message_id: int, heard: Heard) -> Answer:
    lost = "the association was aborted, or the connection was lost"
    if not association.is_established:
        return Answer(failure=ErrorKind.UNREACHABLE, status=None, reason=lost)
    timeout = association.ae.dimse_timeout or 0.0
    try:
        with _readable(outgoing):
            # pynetdicom's clock starts when the bytes are queued, not when they are sent
            association.dimse_timeout = timeout + outgoing.path.stat().st_size / _SLOWEST_LINK
            status = association.send_c_store(outgoing.path, msg_id=message_id, priority=0).get("Status")
    except FileNotFoundError as error:
        # gone since it was looked at, a moment ago: the next look says so
        raise ObjectUnavailable(outgoing, error) from error
    if status is not None:
        return answer_of(status, heard.comment)
    reason = lost if association.acse.is_aborted() else f"{lost}, or no answer came within {timeout:g} s"
    return Answer(failure=ErrorKind.UNREACHABLE, status=None, reason=reason)
