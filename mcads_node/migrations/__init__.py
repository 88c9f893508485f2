"""The database's history, one step a file in ``versions``; run by `bring_up_to_date`, never by hand.

There are no steps backwards: who must go back to an older version of the node restores a backup.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from mcads_node import __version__
from mcads_node.errors import ConfigError, Problem

# Alembic is imported where there is a step to take: it brings a template engine and a highlighter of source
# code, a fifth of the time that a verb takes
if TYPE_CHECKING:
    from alembic.config import Config

_VERSIONS = Path(__file__).with_name("versions")
#: any number, as long as it is always the same
_ADVISORY_LOCK = 0x4D434144


def known_revisions() -> list[str]:
    """Revisions of the tables that this version of the node can bring up to date, the newest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def alembic_config() -> Config:
    """Say to Alembic where the steps are."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_VERSIONS.parent).replace("%", "%%"))
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
    current = _revision(connection)
    if current == _newest():
        return
    known = known_revisions()
    if current is not None and current not in known:
        message = (
            f"the database has revision {current!r}, which node {__version__} does not know: a newer version "
            f"wrote it. Install that version, or restore a backup made with this one (revision {known[0]!r})"
        )
        raise ConfigError([Problem(file=database, line=None, key="node.database", message=message)])
    _upgrade(connection)


def _newest() -> str:
    # the steps are numbered, and each is called by its number
    return max(step.name for step in _VERSIONS.glob("[0-9]*_*.py"))[:4]


def _revision(connection: Connection) -> str | None:
    """Ask for the revision of the tables; None where there are none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
