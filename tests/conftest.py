"""Fixtures of more than one module."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, postgres_server

#: files that would else begin last, and leave one process at work while the others are done
_FIRST = ("test_ohif.py", "test_referee_matrix.py")


def pytest_configure() -> None:
    """Import and collect without looking for garbage: what is made there stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on, but not among all modules and tests each time."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, each in the order of its tests."""
    items.sort(key=lambda item: item.path.name not in _FIRST)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run PostgreSQL for all tests of this process that want it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | Path]:
    """An empty database for `fresh_store`: a test that uses it runs once with each kind of database."""
    if request.param == "sqlite":
        yield tmp_path
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url
