"""A destination that stores, drops, stalls, refuses, aborts and rejects at random, and remembers it all."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

AE_TITLE = "PACS"
SR_CLASSES = (Comprehensive3DSRStorage, EnhancedSRStorage, ComprehensiveSRStorage)
_VERIFICATION = "1.2.840.10008.1.1"

#: what becomes of an object, and how often among a hundred
_MOODS = {
    "store": 72,
    "out of resources": 3,
    "cannot understand": 5,
    "processing failure": 8,
    "abort": 4,
    "drop": 5,
    "stall": 3,
}
_STATUSES = {"out of resources": 0xA700, "cannot understand": 0xC000, "processing failure": 0x0110}
_STALL_SECONDS = 5.0


@dataclass(kw_only=True)
class Held:
    """What came under one SOP Instance UID."""

    study: str
    sop_class: str
    #: SHA-256 of each data set
    digests: set[str] = field(default_factory=set)
    times: int = 0
    #: it was answered 0x0000 at least once
    answered: bool = False


class Destination:
    """Listens on a port of loopback.

    Parameters
    ----------
    port
        Where.
    seed
        Of its moods.
    hostile
        False: it stores everything.
    """

    def __init__(self, port: int, seed: int = 0, *, hostile: bool = False) -> None:
        self.port = port
        self.hostile = hostile
        #: by SOP Instance UID: whatever arrived whole, however it was answered
        self.held: dict[str, Held] = {}
        #: how often it was in which mood
        self.moods: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        entity = ApplicationEntity(ae_title=AE_TITLE)
        entity.maximum_associations = 20
        entity.network_timeout = 30
        for sop_class in (*SR_CLASSES, SecondaryCaptureImageStorage):
            entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
        entity.add_supported_context(_VERIFICATION)
        self._entity = entity

    def __enter__(self) -> Destination:
        self._server = self._entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_REQUESTED, self._on_requested), (evt.EVT_C_STORE, self._on_store)],
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()

    def _on_requested(self, event: evt.Event) -> None:
        if self.hostile and self._random.random() < 0.05:
            self.moods["reject"] += 1
            # rejected-transient by the presentation service provider: temporary congestion
            event.assoc.acse.send_reject(0x02, 0x03, 0x01)
            event.assoc.kill()

    def _on_store(self, event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        data, dataset = request.DataSet, event.dataset
        assert data is not None
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        mood = "store"
        if self.hostile:
            (mood,) = self._random.choices(list(_MOODS), list(_MOODS.values()))
        status = _STATUSES.get(mood, 0x0000)
        with self._lock:
            self.moods[mood] += 1
            held = self.held.setdefault(
                str(request.AffectedSOPInstanceUID),
                Held(study=str(dataset.StudyInstanceUID), sop_class=str(request.AffectedSOPClassUID)),
            )
            held.digests.add(digest)
            held.times += 1
            held.answered |= status == 0x0000
        self._misbehave(mood, event.assoc)
        return status

    def _misbehave(self, mood: str, association: Association) -> None:
        if mood == "abort":
            association.abort(block=False)
        elif mood == "stall":
            # an answer that comes when nobody waits for it any more
            time.sleep(_STALL_SECONDS)
        elif mood == "drop" and association.dul.socket is not None:
            # it has the object, and nobody will learn of it
            connection = association.dul.socket.socket
            with contextlib.suppress(OSError):
                association.dul.socket.close()
            # pynetdicom's passes over close where shutdown fails
            if connection is not None:
                connection.close()

    def two_contents(self) -> list[str]:
        """SOP Instance UIDs under which different objects came."""
        with self._lock:
            return sorted(uid for uid, held in self.held.items() if len(held.digests) > 1)

    def reports(self) -> Counter[str]:
        """How many different reports came, by Study Instance UID."""
        with self._lock:
            return Counter(held.study for held in self.held.values() if held.sop_class in SR_CLASSES)

    def has(self, sop_instance_uid: str) -> bool:
        """Whether it told somebody that it stored this object."""
        with self._lock:
            held = self.held.get(sop_instance_uid)
            return held is not None and held.answered
