"""Stand-ins for UIDs that are none, so that an object with such a UID is received all the same.

pynetdicom gives up on commands that PS3.7 does not allow: a UID of 65 characters aborts the association, an
empty one is never answered. The bytes would be lost, and nobody would know. So such UIDs are taken out of the
command as it arrives and a stand-in is put in their place; the handler gets the peer's own text back
(docs/decisions/0005).
"""

from __future__ import annotations

import threading
import uuid
from weakref import WeakKeyDictionary

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from mcads_node.instance import is_valid_uid
from mcads_node.receive.identifiers import uid_text

_SOP_CLASS_UID = 0x0000_0002
_SOP_INSTANCE_UID = 0x0000_1000


class StandIns:
    """The stand-ins of all associations. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: SOP Class and Instance UID as the peer wrote them, by the stand-in for the latter
        self._spoken: WeakKeyDictionary[Association, dict[str, tuple[str, str]]] = WeakKeyDictionary()

    def put_in(self, association: Association, command: Dataset, sop_class_uid: str) -> None:
        """Replace the UIDs of a C-STORE request, where they would not do.

        Parameters
        ----------
        association
            Over which it came.
        command
            Its command set; changed.
        sop_class_uid
            Of the presentation context.
        """
        spoken = spoken_uids(command)
        if spoken[0] == sop_class_uid and is_valid_uid(spoken[1]):
            return
        stand_in = f"2.25.{uuid.uuid4().int}"
        command[_SOP_CLASS_UID] = DataElement(_SOP_CLASS_UID, "UI", sop_class_uid)
        command[_SOP_INSTANCE_UID] = DataElement(_SOP_INSTANCE_UID, "UI", stand_in)
        with self._lock:
            self._spoken.setdefault(association, {})[stand_in] = spoken

    def take_out(self, association: Association, sop_instance_uid: str) -> tuple[str, str] | None:
        """Give SOP Class and Instance UID as the peer wrote them; None where nothing stands in for them."""
        with self._lock:
            return self._spoken.get(association, {}).pop(sop_instance_uid, None)


def spoken_uids(command: Dataset) -> tuple[str, str]:
    """SOP Class and Instance UID of a C-STORE request's command set, as the peer wrote them."""
    return _raw_uid(command, _SOP_CLASS_UID), _raw_uid(command, _SOP_INSTANCE_UID)


def _raw_uid(command: Dataset, tag: int) -> str:
    # as bytes: pydicom would validate the value, and warn in the peer's words
    element = command.get_item(tag) if tag in command else None
    value = b"" if element is None else element.value
    return uid_text(value or b"")
