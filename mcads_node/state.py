"""The node's durable state, opened as one: the database and the two folders it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcads_node.backoff import RetryPolicy
from mcads_node.config import NodeConfig
from mcads_node.errors import NodeError
from mcads_node.spool import Spool
from mcads_node.task import Folders
from mcads_node.workitems import Workitems, WorkPolicy, open_store

#: a file in the data folder: a restoration has begun, and not ended
RESTORING = "restoring.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """What survives the process."""

    workitems: Workitems
    #: received objects, as their senders encoded them
    spool: Spool
    #: finished objects and thumbnails
    results: Spool

    def close(self) -> None:
        """Let go of the database."""
        self.workitems.close()


def open_state(config: NodeConfig) -> State:
    """Open the state that the configuration names; folders and tables are made where they are not there.

    Raises
    ------
    NodeError
        A folder cannot be made, the database cannot be opened or is of a newer version, or a restoration
        was interrupted.
    """
    node, attempts = config.node, config.analysis.max_attempts
    if (node.data_dir / RESTORING).exists():
        raise NodeError(
            f"{node.data_dir} (node.data_dir) is of a restoration that was interrupted: run restore again"
        )
    folders = folders_of(node.data_dir)
    spool, results = Spool(folders.spool), Spool(folders.results)
    policy = WorkPolicy(retry=RetryPolicy(max_attempts=attempts, max_age=None), max_deaths=attempts)
    workitems = open_store(database_of(config), policy=policy, busy_seconds=node.database_busy_seconds)
    return State(workitems=workitems, spool=spool, results=results)


def database_of(config: NodeConfig) -> str | Path:
    """Where the database is: a server's URL, or SQLite's file in the data folder."""
    return config.node.database or config.node.data_dir / "node.db"


def folders_of(data_dir: Path) -> Folders:
    """Where images and results lie, in a node's data folder."""
    return Folders(spool=data_dir / "spool", results=data_dir / "results")


def weights_dir(data_dir: Path) -> Path:
    """Folder of the models' weights, in a node's data folder."""
    return data_dir / "models"
