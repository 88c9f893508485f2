"""The database's history, one step a file in ``versions``; run by `bring_up_to_date`, never by hand.

There are no steps backwards: who must go back to an older version of the node restores a backup.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from mcads_node import __version__
from mcads_node.errors import ConfigError, Problem

#: any number, as long as it is always the same
_ADVISORY_LOCK = 0x4D434144


def known_revisions() -> list[str]:
    """Revisions of the tables that this version of the node can bring up to date, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def alembic_config() -> Config:
    """Say to Alembic where the steps are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def bring_up_to_date(connection: Connection, database: str) -> None:
    """Make or change the tables to what this version of the node expects, all within the open transaction.

    Parameters
    ----------
    connection
        In a transaction that may write.
    database
        What to call it in a message.

    Raises
    ------
    ConfigError
        A newer version of the node wrote the database.
    """
    if connection.dialect.name == "postgresql":
        # several nodes may start at once; the lock goes with the transaction
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        # a step may take long on a large table
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    config = alembic_config()
    config.attributes["connection"] = connection
    known = known_revisions()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        message = (
            f"the database has revision {current!r}, which node {__version__} does not know: a newer version "
            f"wrote it. Install that version, or restore a backup made with this one (revision {known[0]!r})"
        )
        raise ConfigError([Problem(file=database, line=None, key="node.database", message=message)])
    if current != known[0]:
        command.upgrade(config, "head")
