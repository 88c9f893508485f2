"""Converted networks on the disk: made of verified weights once, each beside a record with its digests.

``weights_dir/<model>/openvino/<key>/`` holds ``network.xml``, ``network.bin`` and ``record.json``. The key
follows from all that the network depends on: weights, node, OpenVINO, processor. The record is written last,
and only what has the digests that it names is ever used; whatever is damaged or half written is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mcads_node.model_store.weights_files import write_durably

_GRAPH: Final = "network.xml"
_CONSTANTS: Final = "network.bin"
_RECORD: Final = "record.json"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a precision compares with torch on the samples."""

    #: ``f32``, ``bf16`` or ``f16``
    precision: str
    #: of any score of any sample, 0…1
    greatest_difference: float
    #: presences, at the manifest's thresholds, that are others than torch's
    decisions_changed: int
    accepted: bool

    def in_words(self) -> str:
        """Say what was compared, and how it ended."""
        return (
            f"{self.precision}: scores within {self.greatest_difference:.2g} of torch, "
            f"{self.decisions_changed} decisions changed, {'taken' if self.accepted else 'not taken'}"
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a converted network."""

    #: SHA-256 of the weights that it was made of, hex
    weights: str
    openvino: str
    processor: str
    #: in which it is to be run where a lower one is welcome; empty: it does not agree with torch
    precision: str
    comparisons: tuple[Comparison, ...]
    #: SHA-256, hex
    graph: str
    constants: str

    @property
    def agrees(self) -> bool:
        """Whether its scores are torch's."""
        return any(each.accepted for each in self.comparisons)

    def of(self, precision: str) -> Comparison | None:
        """Give the comparison of one precision; None where it was not made."""
        return next((each for each in self.comparisons if each.precision == precision), None)

    def in_words(self) -> str:
        """Say what was compared, and how it ended."""
        return "; ".join(each.in_words() for each in self.comparisons)


@dataclass(frozen=True, kw_only=True, eq=False)
class Converted:
    """A converted network whose digests are right."""

    #: OpenVINO's intermediate representation, XML
    graph: bytes
    constants: bytes
    record: Record


def key_of(*parts: str) -> str:
    """Name the folder of a conversion after all that it depends on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_converted(folder: Path) -> Converted | None:
    """Read a converted network; None where there is none, or it is not what its record says."""
    record = read_record(folder)
    if record is None:
        return None
    try:
        graph, constants = (folder / _GRAPH).read_bytes(), (folder / _CONSTANTS).read_bytes()
    except OSError:
        return None
    if (_digest(graph), _digest(constants)) != (record.graph, record.constants):
        return None
    return Converted(graph=graph, constants=constants, record=record)


def read_record(folder: Path) -> Record | None:
    """Read a record; None where there is none, or it cannot be read."""
    try:
        told: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        comparisons = tuple(Comparison(**each) for each in told.pop("comparisons"))
        return Record(comparisons=comparisons, **told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def records_of(folder: Path, weights: str) -> tuple[Record, ...]:
    """Give the records below `folder` of networks that were made of `weights` (SHA-256, hex)."""
    found = (read_record(each.parent) for each in sorted(folder.glob(f"*/{_RECORD}")))
    return tuple(each for each in found if each is not None and each.weights == weights)


def write_converted(
    folder: Path,
    graph: bytes,
    constants: bytes,
    made: tuple[str, str, str],
    comparisons: Sequence[Comparison],
) -> None:
    """Write a converted network, its record last.

    Parameters
    ----------
    folder
        Its own.
    graph, constants
        OpenVINO's intermediate representation.
    made
        Digest of the weights, version of OpenVINO, processor.
    comparisons
        From the most exact precision to the least; the last that is accepted is the one to be used.

    Raises
    ------
    OSError
        The disk is full, or the folder not to be written to.
    """
    accepted = [each.precision for each in comparisons if each.accepted]
    weights, openvino, processor = made
    record = Record(
        weights=weights,
        openvino=openvino,
        processor=processor,
        precision=accepted[-1] if accepted else "",
        comparisons=tuple(comparisons),
        graph=_digest(graph),
        constants=_digest(constants),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / _GRAPH, graph)
    write_durably(folder / _CONSTANTS, constants)
    write_durably(folder / _RECORD, json.dumps(asdict(record), indent=2).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
