"""Backups: a copy of the node's state at one moment, and the way back from it.

A backup is a folder: the database, every file that its rows say is there (received objects, results), and
``manifest.json``, which names each file with its SHA-256. ``making`` writes one while the node runs,
``restoring`` puts one in place where no state is, ``manifest`` is what they share.

Files of the spool never change, so they are not copied where that can be avoided: a file that the last backup
has is linked from there, one that lies in the same file system is linked from the spool, and only the rest
is copied. A hard link shares the bytes: against a disk that fails only a backup on another disk helps.
"""

from mcads_node.backup.making import BackupMade, last_backup, make_backup
from mcads_node.backup.restoring import Restored, restore_backup

__all__ = ["BackupMade", "Restored", "last_backup", "make_backup", "restore_backup"]
