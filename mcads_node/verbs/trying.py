"""The verbs that try rules: why an image falls under one, and what other rules would do to what came."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcads_node.admit import admit
from mcads_node.config import NodeConfig, RuleBook
from mcads_node.errors import FileUnreadable, InstanceUnreadable, NodeError, PermanentError
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.priority import Priority
from mcads_node.route import Judgement, Route, Subject, Term, judge, read_subject, verdict
from mcads_node.state import State
from mcads_node.verbs.overview import state_of, which
from mcads_node.workitems import TriedInstance
from mcads_node.yamlfile import load_yaml

_BATCH = 200


# --- explain


def requestor_in(config: Path, text: str) -> Requestor:
    """Read who is to have sent a file: ``CR_ROOM1@10.20.0.7``, to the node's own AE title."""
    ae_title, _, address = text.partition("@")
    called = load_yaml(config, NodeConfig).node.ae_title
    return Requestor(ae_title=ae_title, address=address or "127.0.0.1", called_ae_title=called)


def explain_file(file: Path, circumstances: Circumstances, book: RuleBook) -> dict[str, Any]:
    """Tell which rule an image in a file falls under, and why no earlier one.

    Raises
    ------
    NodeError
        The file cannot be read, or is no DICOM object.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise NodeError(f"{file}: cannot be read: {error.strerror}") from error
    return {"image": str(file), **_explained(read_subject(data, circumstances), book)}


def explain_study(config: Path, study: str, book: RuleBook) -> list[dict[str, Any]]:
    """Tell the same of every image of a study that the node received.

    Raises
    ------
    PermanentError
        The study is not on record.
    """
    state = state_of(config)
    try:
        images = state.workitems.instances_to_try(study=which(study), limit=100_000)
        return [
            {
                "image": image.number,
                "sop_instance_uid": image.sop_instance_uid,
                **_of_held(state, image, book),
            }
            for image in images
        ]
    finally:
        state.close()


def _of_held(state: State, image: TriedInstance, book: RuleBook) -> dict[str, Any]:
    try:
        return _explained(_subject(state, image), book)
    except _NotHeld as error:
        return {"decision": str(error), "rule": None, "rules": []}


def _explained(subject: Subject, book: RuleBook) -> dict[str, Any]:
    judged = judge(subject, book.rules)
    used = judged[-1].rule.name if judged and judged[-1].is_used else None
    decision = _label(judged, verdict(judged, subject))
    before = admit(subject.header)
    if before is not None:
        decision, used = f"declined before any rule is asked: {before.reason}", None
    return {
        "rules_digest": book.digest,
        "decision": decision,
        "rule": used,
        "rules": [
            {
                "name": each.rule.name,
                "matches": each.matches,
                "shadow": each.rule.shadow,
                "outcome": str(each.term.outcome),
                "terms": [_term(term) for term in each.term.terms],
            }
            for each in judged
        ],
    }


def _term(term: Term) -> dict[str, Any]:
    told: dict[str, Any] = {"asked": term.asked, "outcome": str(term.outcome)}
    if term.terms:
        return told | {"terms": [_term(each) for each in term.terms]}
    return told | {"found": term.found}


def _label(judged: Sequence[Judgement], outcome: Route | Declined) -> str:
    if isinstance(outcome, Declined):
        told = [f"declined: {outcome.reason}"]
    else:
        told = [f"analysed by rule {outcome.rule!r}, results to {', '.join(outcome.send_to) or 'nobody'}"]
    used = judged[-1].rule if judged and judged[-1].is_used else None
    if used is not None and used.forward:
        told.append(f"original to {', '.join(used.forward)}")
    if used is not None and used.urgency is not Priority.ROUTINE:
        told.append(f"priority {used.urgency.word}")
    if used is not None and used.schedule:
        told.append(f"only {' or '.join(map(str, used.schedule))}")
    shadows = [each.rule.name for each in judged if each.matches and each.rule.shadow]
    return "; ".join([*told, *(f"read besides by the shadow {name!r}" for name in shadows)])


class _NotHeld(Exception):
    """The text says why an image cannot be looked at."""


def _subject(state: State, image: TriedInstance) -> Subject:
    if image.path is None:
        raise _NotHeld("not looked at: its file was deleted")
    try:
        return read_subject(state.spool.read(image.path), image.circumstances)
    except InstanceUnreadable as error:
        raise _NotHeld(f"not looked at: {error}") from error
    except (FileUnreadable, PermanentError) as error:
        raise _NotHeld("not looked at: its file is lost or cannot be read") from error


# --- replay


@dataclass
class Replay:
    """What other rules would do to what came."""

    #: digests
    old: str
    new: str
    looked_at: int = 0
    #: numbers of images whose file is gone or cannot be read
    not_held: list[int] = field(default_factory=list)
    #: images that are declined before any rule is asked, by either
    before_rules: int = 0
    #: numbers of the images that would be treated otherwise, by what is done now and what would be done
    changes: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give it as plain values; the largest change first."""
        ordered = sorted(self.changes.items(), key=lambda each: (-len(each[1]), each[0]))
        return {
            "old": self.old,
            "new": self.new,
            "looked_at": self.looked_at,
            "unchanged": self.looked_at - self.before_rules - sum(map(len, self.changes.values())),
            "declined_before_rules": self.before_rules,
            "not_held": self.not_held,
            "changes": [
                {"from": old, "to": new, "count": len(numbers), "images": numbers}
                for (old, new), numbers in ordered
            ],
        }


def since_in(text: str, now: datetime) -> datetime:
    """Read ``7d``, ``12h``, or a date (and time) of this machine's clock.

    Raises
    ------
    ValueError
        It is neither.
    """
    span = re.fullmatch(r"(\d{1,5})([dh])", text.strip(), re.ASCII)
    if span:
        return now - timedelta(**{{"d": "days", "h": "hours"}[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(f"expected 7d, 12h or a date such as 2026-01-31; found {text!r}") from None


def replay(
    config: Path,
    since: datetime,
    books: tuple[RuleBook, RuleBook],
    progress: Callable[[int, int], None],
) -> Replay:
    """Hold two versions of the rules against what the node received and still holds; nothing is changed.

    Both are asked about each image as it stands on record now, so that they differ only by what they say.

    Parameters
    ----------
    config
        ``node.yaml``.
    since
        Images that came since then, timezone-aware.
    books
        The rules of now, and those that are tried.
    progress
        Told how many of how many images have been looked at.
    """
    old, new = books
    found = Replay(old=old.digest, new=new.digest)
    state = state_of(config)
    try:
        total = state.workitems.count_instances(since)
        for done, image in enumerate(_held(state, since), start=1):
            _try(state, image, books, found)
            progress(done, max(total, done))
    finally:
        state.close()
    return found


def _held(state: State, since: datetime) -> Iterator[TriedInstance]:
    after = 0
    while batch := state.workitems.instances_to_try(since=since, after=after, limit=_BATCH):
        yield from batch
        after = batch[-1].number


def _try(state: State, image: TriedInstance, books: tuple[RuleBook, RuleBook], found: Replay) -> None:
    try:
        subject = _subject(state, image)
    except _NotHeld:
        found.not_held.append(image.number)
        return
    found.looked_at += 1
    if admit(subject.header) is not None:
        found.before_rules += 1
        return
    judged = [judge(subject, book.rules) for book in books]
    outcomes = [verdict(each, subject) for each in judged]
    old, new = (_label(*each) for each in zip(judged, outcomes, strict=True))
    if outcomes[0] != outcomes[1] or old != new:
        told = old, new if old != new else f"{new}, in another way"
        found.changes.setdefault(told, []).append(image.number)
