"""Images whose findings are known: a CSV file, a line an image, a column a label."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcads_node.errors import PermanentError, Problem

_TRUE: Final = frozenset({"1", "1.0", "true", "yes"})
_FALSE: Final = frozenset({"0", "0.0", "false", "no"})
#: as public collections write what a reader left open
_UNKNOWN: Final = frozenset({"", "-1", "-1.0", "nan", "na", "unknown"})
_IMAGE: Final = frozenset({"file", "path", "image", "filename", "imageindex"})
_PATIENT: Final = frozenset({"patient", "patientid"})
#: complaints that are told; more of them have the same cause
_MOST_PROBLEMS: Final = 20


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One line of the file."""

    #: as it was written
    name: str
    path: Path
    #: images of one patient are not independent; where patients are not told, each image is its own
    patient: str
    #: by label of the model; None: not known
    truths: Mapping[str, bool | None]


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """The whole file."""

    images: tuple[LabelledImage, ...]
    #: labels of the model that the file has a column of, in the model's order
    labels: tuple[str, ...]
    #: whether the file tells patients
    has_patients: bool


@dataclass(frozen=True, kw_only=True)
class _Columns:
    image: str
    patient: str | None
    #: column by label
    labels: Mapping[str, str]


def read_labels(file: Path, folder: Path, labels: Sequence[str]) -> LabelledSet:
    """Read what is known of images.

    Parameters
    ----------
    file
        CSV with a header, UTF-8. A column ``file`` (or ``path``, ``image``, ``filename``, ``Image Index``);
        one called as each label, in any case and with spaces or underscores; ``patient`` where there is one.
        Other columns are passed over. A label is 1 or 0, true or false, yes or no; empty or -1 where it is
        not known.
    folder
        Where the images are; names are relative to it.
    labels
        Of the model.

    Raises
    ------
    PermanentError
        With every line that cannot be used, and why.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = _columns(file, reader.fieldnames or (), labels)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise PermanentError(f"{os.fspath(file)}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PermanentError(f"{os.fspath(file)}: expected CSV in UTF-8: {error}") from error
    images, problems = _images(file, folder, columns, rows)
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise PermanentError("\n".join([*map(str, problems[:_MOST_PROBLEMS]), *more]))
    if not images:
        raise PermanentError(f"{os.fspath(file)}: expected at least one image")
    return LabelledSet(images=images, labels=tuple(columns.labels), has_patients=columns.patient is not None)


def _columns(file: Path, header: Sequence[str], labels: Sequence[str]) -> _Columns:
    by_name: dict[str, str] = {}
    for column in header:
        if (name := _bare(column)) in by_name:
            raise PermanentError(f"{file}:1: {by_name[name]!r} and {column!r} are one column twice")
        by_name[name] = column
    image = next((by_name[name] for name in by_name if name in _IMAGE), None)
    if image is None:
        raise PermanentError(f"{file}:1: expected a column file, path, image, filename or Image Index")
    found = {label: by_name[_bare(label)] for label in labels if _bare(label) in by_name}
    if not found:
        raise PermanentError(f"{file}:1: expected a column for at least one of {', '.join(labels)}")
    patient = next((by_name[name] for name in by_name if name in _PATIENT), None)
    return _Columns(image=image, patient=patient, labels=found)


def _images(
    file: Path, folder: Path, columns: _Columns, rows: Iterable[tuple[int, Mapping[str, str]]]
) -> tuple[tuple[LabelledImage, ...], list[Problem]]:
    images: list[LabelledImage] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for line, row in rows:

        def complain(column: str, message: str, line: int = line) -> None:
            problems.append(Problem(file=str(file), line=line, key=column, message=message))

        name = (row[columns.image] or "").strip()
        if not name:
            complain(columns.image, "expected the name of an image, found nothing")
        elif name in seen:
            complain(columns.image, f"{name!r} is there already, on line {seen[name]}")
        seen.setdefault(name, line)
        truths: dict[str, bool | None] = {}
        for label, column in columns.labels.items():
            word = (row[column] or "").strip().casefold()
            if word not in _TRUE | _FALSE | _UNKNOWN:
                complain(column, f"expected 1, 0, or empty where it is not known; found {word[:20]!r}")
            truths[label] = None if word in _UNKNOWN else word in _TRUE
        patient = name if columns.patient is None else (row[columns.patient] or "").strip()
        if not patient:
            complain(columns.patient or "", "expected whose image it is, found nothing")
        images.append(LabelledImage(name=name, path=folder / name, patient=patient, truths=truths))
    return tuple(images), problems


def _bare(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
