"""Small DICOM files for the tests of the network: right in their header, with pixels nobody looks at."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


def radiograph(rows: int = 64, columns: int = 48, transfer_syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """Return a DX image with file meta information; in a compressed syntax its one frame is no codestream."""
    ds = Dataset()
    ds.SOPClassUID = DX_FOR_PRESENTATION
    ds.SOPInstanceUID = generate_uid()
    ds.StudyDate, ds.StudyTime, ds.Modality, ds.AccessionNumber = "20240131", "120000", "DX", "A1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        "Very^Secret",
        "SECRET-ID",
        "19700101",
        "F",
    )
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", "1", "1"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    pixels = bytes(index % 251 for index in range(rows * columns * 2))
    ds.PixelData = encapsulate([pixels]) if UID(transfer_syntax).is_encapsulated else pixels
    ds["PixelData"].VR = "OW" if not UID(transfer_syntax).is_encapsulated else "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return ds


def write(ds: Dataset, path: Path) -> Path:
    """Write a Part 10 file."""
    ds.save_as(path, enforce_file_format=True)
    return path


def data_set_bytes(file: bytes) -> bytes:
    """What follows the file meta information of a Part 10 file: its data set, as encoded."""
    # group length (0002,0000) is the first element: 8 bytes of header, then how far the group goes after it
    return file[144 + int.from_bytes(file[140:144], "little") :]
