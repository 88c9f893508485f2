"""A small receiving PACS, for the demo and the benchmarks: keeps what it is sent as files."""

from __future__ import annotations

import time
from pathlib import Path

from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from mcads_node.instance import is_valid_uid
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.arrival import CANNOT_UNDERSTAND, SUCCESS, Arrival
from mcads_node.receive.scp import ReceiverSettings, StorageScp

AE_TITLE = "DEMO_PACS"


class SmallPacs:
    """Stores result objects from one AE title on this machine, and remembers when.

    Parameters
    ----------
    folder
        A new one.
    sender
        AE title of the node that may send.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self.folder = folder
        self.received: dict[str, Path] = {}
        self.last_stored = time.monotonic()
        folder.mkdir(parents=True)
        allowed = AllowedRequestor(ae_title=sender, address="127.0.0.1")
        self.scp = StorageScp(
            ReceiverSettings(
                admission=Admission(ae_title=AE_TITLE, requestors=(allowed,), max_associations=4),
                transfer_syntaxes=TRANSFER_SYNTAXES,
                storage_classes={
                    Comprehensive3DSRStorage: "Comprehensive 3D SR",
                    SecondaryCaptureImageStorage: "Secondary Capture",
                },
            ),
            self._keep,
            lambda _requestor, _reason: None,
        )

    def _keep(self, arrival: Arrival) -> int:
        if arrival.objection is not None or not is_valid_uid(arrival.sop_instance_uid):
            return CANNOT_UNDERSTAND
        file = self.folder / f"{arrival.sop_instance_uid}.dcm"
        file.write_bytes(arrival.meta + arrival.dataset)
        self.received[arrival.sop_instance_uid] = file
        self.last_stored = time.monotonic()
        return SUCCESS
