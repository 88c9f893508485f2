"""Copies of the node's state: the verbs ``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path

from mcads_node.backup import BackupMade, Restored, make_backup, restore_backup
from mcads_node.backup.making import Progress
from mcads_node.config import NodeConfig
from mcads_node.errors import ConfigError, Problem
from mcads_node.service.roles import ALL_ROLES, alone_in
from mcads_node.verbs.overview import state_of
from mcads_node.verbs.person import administrator
from mcads_node.yamlfile import load_yaml


def back_up(config: Path, directory: Path | None, progress: Progress) -> BackupMade:
    """Make a backup of a node, which may be running.

    Parameters
    ----------
    config
        ``node.yaml``.
    directory
        Where to; None: where the node's own go, and then older ones are removed as they are by the node.
    progress
        Told how far it is.

    Raises
    ------
    NodeError
        No directory is named anywhere, or the backup could not be made.
    """
    section = load_yaml(config, NodeConfig).backup
    target = directory or section.directory
    if target is None:
        message = "expected a folder for backups here, or --to DIR"
        raise ConfigError([Problem(file=str(config), line=None, key="backup.directory", message=message)])
    state = state_of(config)
    try:
        return make_backup(state, target, keep=None if directory else section.keep, progress=progress)
    finally:
        state.close()


def put_back(config: Path, backup: Path, progress: Progress, *, without_damaged: bool = False) -> Restored:
    """Put a backup in place for a node that does not run and has no state.

    `without_damaged`: restore what is whole of it, and put the rest on record as lost.

    Raises
    ------
    NodeError
        A node runs in the data folder, there is a state already, or the backup is damaged.
    """
    settings = load_yaml(config, NodeConfig)
    with alone_in(settings, ALL_ROLES):
        return restore_backup(
            backup, settings, who=administrator(), progress=progress, without_damaged=without_damaged
        )
