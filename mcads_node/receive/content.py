"""The data set of an object as it came: in memory, or in a file that was written while it came."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Protocol

from mcads_node.draft import Draft, StoredFile
from mcads_node.spool import Spool


class Content(Protocol):
    """A data set, exactly as the peer encoded it."""

    def read(self, most: int | None = None) -> bytes:
        """Give it, or its first bytes."""

    def keep(self, spool: Spool, preface: bytes) -> StoredFile:
        """Store it durably, after a preface.

        Raises
        ------
        StorageFull, TransientError
            It is not stored, and nothing of it is left.
        """

    def discard(self) -> None:
        """Let go what was not kept."""


class InMemory:
    """A data set in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, most: int | None = None) -> bytes:
        """Give it, or its first bytes."""
        return self._data if most is None else self._data[:most]

    def keep(self, spool: Spool, preface: bytes) -> StoredFile:
        """Store it durably, after a preface."""
        return spool.write(self._data, preface=preface)

    def discard(self) -> None:
        """Let nothing go: it is nowhere else."""


class InDraft:
    """A data set in a file that is not durable yet."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def read(self, most: int | None = None) -> bytes:
        """Give it, or its first bytes; less of it where the device fails, which `keep` then tells."""
        return self._draft.read(most)

    def keep(self, spool: Spool, preface: bytes) -> StoredFile:
        """Finish the file, or write another where the preface was to be another."""
        if preface == self._draft.preface:
            return self._draft.finish()
        data = self._draft.read()
        self._draft.discard()
        return spool.write(data, preface=preface)

    def discard(self) -> None:
        """Let the file go, unless it was kept."""
        self._draft.discard()


class Incoming(BytesIO):
    """Where pynetdicom puts the data set of a message, fragment by fragment.

    Parameters
    ----------
    begin
        Asked at the first fragment for a file to put it into; None: it stays in memory.
    """

    def __init__(self, begin: Callable[[], Draft | None]) -> None:
        super().__init__()
        self._begin: Callable[[], Draft | None] | None = begin
        self._draft: Draft | None = None

    def write(self, fragment: Any) -> int:
        """Add a fragment."""
        if self._begin is not None:
            begin, self._begin = self._begin, None
            self._draft = begin()
        if self._draft is None:
            return super().write(fragment)
        self._draft.add(fragment)
        return len(fragment)

    def tell(self) -> int:
        """Say how many bytes have come."""
        return super().tell() if self._draft is None else self._draft.size

    @property
    def is_begun(self) -> bool:
        """Whether a first fragment has come."""
        return self._begin is None

    @property
    def content(self) -> Content:
        """What has come."""
        return InMemory(self.getvalue()) if self._draft is None else InDraft(self._draft)

    def discard(self) -> None:
        """Let go what has come, where no more will."""
        if self._draft is not None:
            self._draft.discard()
