"""A worker's way to the folders of its node: it reads images there, and leaves results there.

Through the pipe an image of 10 MB and its results would be copied again and again, by the process that also
receives and sends. What is promised of a file is promised by who writes it: it is safely on the disk
before the node hears of it (see ``spool``). What a worker leaves that dies before it answers is no record's,
and is removed with other orphans.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from mcads_node.errors import TransientError
from mcads_node.spool import Spool
from mcads_node.task import Analysis, AnalysisRequest, Composed, Folders

_Outcome = TypeVar("_Outcome", Analysis, Composed)


class Filing:
    """Images and results of one node.

    Parameters
    ----------
    folders
        None: the worker is on another machine, and everything crosses as bytes.
    """

    def __init__(self, folders: Folders | None) -> None:
        self._spool = None if folders is None else Spool(folders.spool, make=False)
        self._results = None if folders is None else Spool(folders.results, make=False)

    def completed(self, request: AnalysisRequest) -> AnalysisRequest:
        """Give a request with the bytes of its image.

        Raises
        ------
        PermanentError, FileUnreadable, TransientError
            As `Spool.read`.
        """
        if request.file is None or self._spool is None:
            return request
        return replace(request, data=self._spool.read(request.file))

    def filed(self, outcome: _Outcome) -> _Outcome:
        """Write the files of an outcome; where they cannot be written it stays whole, and the node tries."""
        if self._results is None:
            return outcome
        try:
            return outcome.kept_in(self._results.write_all(outcome.contents))
        except TransientError:
            return outcome
