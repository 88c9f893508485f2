"""Every error the node raises on purpose.

::

    NodeError                      exit 1
    ├── ConfigError                exit 78  the configuration is wrong; nothing is started
    ├── TransientError             exit 75  may succeed later: retried with backoff
    │   ├── PeerUnreachable                 no association could be made, or it broke
    │   ├── StorageFull                     the spool or the database cannot take more
    │   └── FileUnreadable                  one stored file cannot be read, though the device works
    └── PermanentError             exit 65  will fail again: not retried, the reason is kept
        ├── InstanceUnreadable              not DICOM, no pixels, or pixels that do not fit their header
        ├── ModelUnusable          exit 69  weights absent, not the pinned ones, or not allowed to serve
        └── ReportImpossible                findings that cannot be written as a valid DICOM object

A foreign library's exception is mapped to one of these in the module that is the library's home.
Exit codes follow sysexits.h.
"""

from __future__ import annotations

from dataclasses import dataclass


class NodeError(Exception):
    """Root of the node's errors; its text is fit to be shown to an administrator and holds no PHI."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a configuration file."""

    #: file as the administrator named it
    file: str
    #: 1-based; None where the problem has no place in the file
    line: int | None
    #: dotted path of the key, such as ``routes[0].when.Modality``; empty for the file as a whole
    key: str
    #: what was found and what was expected
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(NodeError):
    """The configuration is wrong: carries every problem found, not only the first."""

    exit_code = 78

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[Problem]]]:
        """Cross the boundary of a process whole."""
        return type(self), (list(self.problems),)


class TransientError(NodeError):
    """May succeed later."""

    exit_code = 75


class PeerUnreachable(TransientError):
    """No association with the peer could be made, or it broke."""


class StorageFull(TransientError):
    """The disk or the database cannot take more."""


class FileUnreadable(TransientError):
    """One stored file cannot be read, though the device that has it takes others."""


class PermanentError(NodeError):
    """Will fail again in the same way."""

    exit_code = 65


class InstanceUnreadable(PermanentError):
    """Not DICOM, no pixels, or pixels that do not fit their header."""


class ModelUnusable(PermanentError):
    """Weights absent, not the pinned ones, or not allowed to serve."""

    exit_code = 69


class ReportImpossible(PermanentError):
    """The findings cannot be written as a valid DICOM object."""
