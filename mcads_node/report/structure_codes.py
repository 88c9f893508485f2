"""How the structures of a segmentation model are coded: ``anatomy.csv``, with what is not sure of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from pydicom.sr.coding import Code

from mcads_node.errors import ReportImpossible


@dataclass(frozen=True, kw_only=True)
class StructureCode:
    """How one structure is coded."""

    #: the model's own name
    structure: str
    #: CID 7140-like: value of Segmented Property Type
    code: Code
    #: CID 244; None: the structure is not one of a pair
    laterality: Code | None
    #: what a reader must know of the mapping; empty where it is sure
    note: str

    @property
    def meaning(self) -> str:
        """In words, such as ``Left Lung``; of the code, and not the model's own name."""
        side = "" if self.laterality is None else f"{self.laterality.meaning} "
        return f"{side}{self.code.meaning}"


def structure_code(structure: str) -> StructureCode:
    """Return the codes of a model's structure.

    Raises
    ------
    ReportImpossible
        The structure is not in ``anatomy.csv``.
    """
    try:
        return structure_codes()[structure]
    except KeyError:
        raise ReportImpossible(f"no code for the structure {structure!r} in report/anatomy.csv") from None


@cache
def structure_codes() -> Mapping[str, StructureCode]:
    """Return the codes of all known structures, by structure."""
    with (files(__package__) / "anatomy.csv").open(encoding="utf-8") as table:
        rows = [_from_row(row) for row in csv.DictReader(table)]
    return MappingProxyType({row.structure: row for row in rows})


def _from_row(row: Mapping[str, str]) -> StructureCode:
    side = Code(row["laterality_code"], row["laterality_scheme"], row["laterality_meaning"])
    return StructureCode(
        structure=row["structure"],
        code=Code(row["code"], row["scheme"], row["meaning"]),
        laterality=side if row["laterality_code"] else None,
        note=row["note"],
    )
