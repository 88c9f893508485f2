"""Radiographs of full size as files, which can be sent again as others."""

import secrets
from pathlib import Path

from mcads_node import phantom


class Images:
    """So many files of one phantom (2500 × 2048: 10 MB), each of a study of its own once it is renewed."""

    def __init__(self, folder: Path, count: int, *, rows: int = 2500, columns: int = 2048) -> None:
        dataset = phantom.radiograph(rows=rows, columns=columns)
        uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        # in the data set, and that of the instance in the file meta information as well
        self._uids = [uid.encode() for uid in uids]
        data = phantom.save(dataset)
        self._places = [(at, uid) for uid in self._uids for at in _places(data, uid)]
        folder.mkdir()
        self.files = [folder / f"{number}.dcm" for number in range(count)]
        for file in self.files:
            file.write_bytes(data)

    def renew(self) -> None:
        """Give each file new UIDs, as long as those that it has."""
        for file in self.files:
            new = {uid: _like(uid) for uid in self._uids}
            with file.open("r+b") as opened:
                for at, uid in self._places:
                    opened.seek(at)
                    opened.write(new[uid])


def _places(data: bytes, uid: bytes) -> list[int]:
    found, at = [], data.find(uid)
    while at >= 0:
        found.append(at)
        at = data.find(uid, at + 1)
    return found


def _like(uid: bytes) -> bytes:
    digits = len(uid) - len("2.25.1")
    return f"2.25.1{secrets.randbelow(10**digits):0{digits}}".encode()
