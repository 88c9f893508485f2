"""Roles: the parts of a node, which one process runs together or several processes share.

What they share is the database and the data folder. Each role of a folder runs once on a machine: two would
take each other's work for that of one that died. On SQLite it runs once altogether, since SQLite cannot be
shared by machines; on PostgreSQL once on each machine (docs/decisions/0012).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

from mcads_node.config import NodeConfig
from mcads_node.errors import NodeError


class Role(StrEnum):
    """A part of the node."""

    #: takes objects from peers
    RECEIVE = "receive"
    #: analyses images and composes reports
    ANALYSE = "analyse"
    #: sends results to destinations
    DELIVER = "deliver"
    #: does what is done by the clock
    TEND = "tend"


ALL_ROLES = frozenset(Role)


@contextmanager
def alone_in(config: NodeConfig, roles: Collection[Role]) -> Iterator[None]:
    """Hold the roles of a data folder for as long as the block runs.

    Raises
    ------
    NodeError
        The folder cannot be used, or another process has one of the roles.
    """
    folder = config.node.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(folder, error) from error
    with ExitStack() as held:
        for role in sorted(roles):
            held.callback(os.close, _lock(folder, _lock_name(config, role), role))
        yield


def _lock(folder: Path, name: str, role: Role) -> int:
    try:
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise NodeError(
            f"{folder} (node.data_dir) is in use by another node that is running (role {role})"
        ) from error
    except OSError as error:
        os.close(handle)
        raise _unusable(folder, error) from error
    # whoever wants to tell the process something finds it by this (`holder_of`)
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def holder_of(config: NodeConfig, role: Role) -> int | None:
    """Give the number of the process that has a role of the data folder on this machine; None: none has.

    Raises
    ------
    NodeError
        The folder cannot be used.
    """
    path = config.node.data_dir / _lock_name(config, role)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(config.node.data_dir, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(handle, 20, 0).decode("ascii", "replace")
        return int(written) if written.isdigit() else None
    finally:
        os.close(handle)
    return None


def _lock_name(config: NodeConfig, role: Role) -> str:
    # on a network file system a lock may hold for all machines
    machine = "" if config.node.database is None else f".{config.node.machine}"
    return f"lock.{role}{machine}"


def _unusable(folder: Path, error: OSError) -> NodeError:
    return NodeError(f"{folder} (node.data_dir) cannot be used: {error.strerror}")
