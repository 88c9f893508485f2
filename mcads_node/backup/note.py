"""The note that lies in a data folder while a backup is put in place there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mcads_node.backup.files import sync, write_durably
from mcads_node.backup.manifest import Manifest
from mcads_node.config import NodeConfig
from mcads_node.state import RESTORING, database_of


@dataclass(frozen=True, kw_only=True)
class Note:
    """Which backup is put in place, and where its database goes."""

    file: Path
    content: bytes

    @staticmethod
    def of(manifest: Manifest, config: NodeConfig) -> Note:
        """Write down a restoration that is to begin."""
        place = database_of(config)
        # without what stands before the host: a password may
        where = str(place).rpartition("@")[2]
        said = {"made_at": manifest.made_at, "sha256": manifest.database.sha256, "database": where}
        return Note(file=config.node.data_dir / RESTORING, content=json.dumps(said).encode())

    def is_there(self) -> bool:
        """Whether this very restoration has begun before, and was interrupted."""
        return self.file.is_file() and self.file.read_bytes() == self.content

    def leave(self) -> None:
        """Say durably that it has begun; the database was empty then."""
        if self.is_there():
            return
        temporary = self.file.with_name(f"{self.file.name}.part")
        temporary.unlink(missing_ok=True)
        write_durably(temporary, self.content)
        temporary.rename(self.file)
        sync(self.file.parent)

    def remove(self) -> None:
        """Say that it has ended."""
        self.file.unlink(missing_ok=True)
        sync(self.file.parent)
