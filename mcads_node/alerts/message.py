"""What is told, as JSON and as text; documented in docs/operations.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mcads_node.alerts.bookkeeping import Notice, Step

#: of the JSON; a new one where a reader would have to change
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Message:
    """Everything that is told at one time."""

    #: who tells it
    ae_title: str
    host: str
    at: datetime
    notices: tuple[Notice, ...]

    @property
    def subject(self) -> str:
        """One line."""
        counts = Counter(notice.step for notice in self.notices)
        said = ", ".join(f"{counts[step]} {_WORDS[step]}" for step in Step if counts[step])
        return f"MCADS node {self.ae_title} on {self.host}: {said}"

    @property
    def text(self) -> str:
        """For a person."""
        return "\n".join(_paragraphs(self.notices))

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "version": VERSION,
            "node": {"ae_title": self.ae_title, "host": self.host},
            "sent_at": self.at.isoformat(),
            "subject": self.subject,
            "alerts": [
                {
                    "key": notice.entry.key,
                    "kind": notice.entry.kind,
                    "event": notice.step.value,
                    "since": notice.entry.raised_at.isoformat(),
                    "text": notice.entry.text,
                    "advice": notice.entry.advice,
                }
                for notice in self.notices
            ],
        }


_WORDS = {Step.RAISED: "new", Step.REPEATED: "still open", Step.RESOLVED: "resolved"}


def _paragraphs(notices: Sequence[Notice]) -> list[str]:
    lines: list[str] = []
    for notice in notices:
        entry = notice.entry
        lines += [f"{_WORDS[notice.step].upper()} since {entry.raised_at:%Y-%m-%d %H:%M} UTC: {entry.text}"]
        if notice.step is not Step.RESOLVED:
            lines += [f"    {entry.advice}"]
        lines += [""]
    return lines


class Channel(Protocol):
    """A way to an administrator."""

    #: at most 16 characters; entries are kept by it
    name: str

    def send(self, message: Message) -> None:
        """Tell it.

        Raises
        ------
        TransientError
            It could not be told; it will be tried again.
        """
