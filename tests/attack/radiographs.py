"""Small radiographs, each a study of its own, and a modality that sends them until they are acknowledged."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from copy import copy

from pydicom.dataset import Dataset
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from mcads_node import phantom

#: AE title of the modality, which the attacked node takes objects from
MODALITY = "MODALITY"


def radiographs(sides: Sequence[int] = (64,)) -> Iterator[Dataset]:
    """Give radiographs without end, of these sizes in turn; each is a study of its own."""
    drawn = [phantom.radiograph(rows=side, columns=side) for side in sides]
    for template in itertools.cycle(drawn):
        image = copy(template)
        image.file_meta = copy(template.file_meta)
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (
            f"2.25.{uuid.uuid4().int}" for _ in range(3)
        )
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        yield image


@contextlib.contextmanager
def association_with(port: int, contexts: Sequence[Dataset]) -> Iterator[Association | None]:
    """Open an association with the node for objects like these; None where it does not come about."""
    entity = ApplicationEntity(ae_title=MODALITY)
    entity.connection_timeout = entity.acse_timeout = entity.network_timeout = 10
    entity.dimse_timeout = 30
    for each in {str(each.SOPClassUID): each for each in contexts}.values():
        entity.add_requested_context(each.SOPClassUID, each.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="MCADS")
    try:
        yield association if association.is_established else None
    finally:
        if association.is_established:
            association.release()


class Modality(threading.Thread):
    """Sends radiographs; one that was not answered 0x0000 is sent again, as a real one would.

    Parameters
    ----------
    port
        Of the node.
    images
        What it sends.
    may_go_on
        Asked before each new image: False while the node has enough to do. Meanwhile the last image is sent
        again, now and then, so that the receiver never rests.
    pause
        Seconds between two objects.
    """

    def __init__(
        self,
        port: int,
        images: Iterator[Dataset],
        may_go_on: Callable[[], bool] = lambda: True,
        pause: float = 0.05,
    ) -> None:
        super().__init__(name="modality", daemon=True)
        self._port = port
        self._images = images
        self._may_go_on = may_go_on
        self._pause = pause
        self._stopping = threading.Event()
        #: Study Instance UID by SOP Instance UID of all that was answered 0x0000
        self.acknowledged: dict[str, str] = {}
        #: C-STORE requests, and those of them that had no answer, or another one
        self.requests = 0
        self.unanswered = 0

    def stop(self) -> None:
        """Send no more; what is being sent is finished, or given up."""
        self._stopping.set()
        self.join(60)

    def run(self) -> None:
        """Send until stopped, or until there are no more images."""
        image = next(self._images, None)
        while image is not None and not self._stopping.is_set():
            image = self._talk(image)
            self._stopping.wait(self._pause)

    def _talk(self, image: Dataset) -> Dataset | None:
        """Send over one association, as long as it goes well; gives the image that is to be sent next."""
        with association_with(self._port, [image]) as association:
            if association is None:
                self._stopping.wait(0.2)
                return image
            for _ in range(random.randint(1, 8)):
                if not self._store(association, image):
                    return image
                if self._may_go_on():
                    following = next(self._images, None)
                    if following is None:
                        return None
                    image = following
                if self._stopping.wait(self._pause):
                    return image
        return image

    def _store(self, association: Association, image: Dataset) -> bool:
        self.requests += 1
        # the association may have ended since; pynetdicom raises then
        try:
            status = association.send_c_store(image).get("Status")
        except (RuntimeError, ValueError):
            status = None
        if status != 0x0000:
            self.unanswered += 1
            return False
        self.acknowledged[str(image.SOPInstanceUID)] = str(image.StudyInstanceUID)
        return True


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Wait until a condition holds; False where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
