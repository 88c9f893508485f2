"""What a backup consists of, as ``manifest.json`` in its folder says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mcads_node.backup.files import write_durably
from mcads_node.errors import PermanentError

MANIFEST: Final = "manifest.json"
DATABASE: Final = "database"
#: folders of a backup that hold files of the spools
SPOOL: Final = "spool"
RESULTS: Final = "results"

#: raised when an older version of the node could not read a backup any more
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a backup."""

    #: bytes
    size: int
    #: hex
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of a backup."""

    #: ISO 8601, UTC
    made_at: str
    #: version of the node that made it
    version: str
    #: ``sqlite``, or ``postgresql``: the database is a dump of pg_dump's
    kind: str
    #: of the database's tables
    schema_revision: str
    #: of the database
    database: FileEntry
    #: by path within the backup, such as ``spool/2026-01-31/<32 hex digits>``
    files: Mapping[str, FileEntry]
    #: paths of files that were let go (retention) while the backup was made
    let_go: tuple[str, ...] = ()
    #: paths of files that rows say are there, and that were not, or not whole
    missing: tuple[str, ...] = ()
    #: those of them that were there, but are not what was once backed up, which is this
    damaged: Mapping[str, FileEntry] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it durably into the folder of a backup."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)
        write_durably(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself.

    Raises
    ------
    PermanentError
        The folder is no backup, its manifest is damaged, or a newer version of the node made it.
    """
    file = folder / MANIFEST
    try:
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PermanentError(f"{folder} is not a backup: it has no {MANIFEST}") from None
    except OSError as error:
        raise PermanentError(f"{file}: {error.strerror}") from error
    except ValueError:
        raise PermanentError(f"{file} is damaged: it is not JSON") from None
    try:
        form = said.pop("format")
        if isinstance(form, int) and form > _FORMAT:
            newer = f"{folder} was made by node {said.get('version')}, in a form this version does not know"
            raise PermanentError(f"{newer}: install that version")
        return Manifest(
            made_at=str(said["made_at"]),
            version=str(said["version"]),
            kind=str(said["kind"]),
            schema_revision=str(said["schema_revision"]),
            database=FileEntry(**said["database"]),
            files=_entries(said["files"]),
            let_go=tuple(said["let_go"]),
            missing=tuple(said["missing"]),
            damaged=_entries(said.get("damaged", {})),
        )
    except (KeyError, TypeError, AttributeError):
        raise PermanentError(f"{file} is damaged: it does not say all that a manifest says") from None


def _entries(said: Mapping[str, Any]) -> dict[str, FileEntry]:
    return {str(path): FileEntry(**entry) for path, entry in said.items()}
