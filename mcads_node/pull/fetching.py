"""Fetching: which studies an archive has, what of them is not here, and having that sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from mcads_node.errors import PeerUnreachable, PermanentError, TransientError
from mcads_node.pull.query import (
    FoundStudy,
    StudyQuery,
    image_identifier,
    read_instance,
    read_series,
    read_study,
    retrieval,
    series_identifier,
)
from mcads_node.pull.scu import Incoming, Questions, Source, asking, retrieve

#: SOP Instance UIDs in one request
AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class SeriesThere:
    """A series of radiographs that an archive has."""

    series_instance_uid: str
    modality: str
    #: SOP Instance UIDs
    instances: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyThere:
    """A study that an archive has, with what of it would be fetched."""

    study: FoundStudy
    series: tuple[SeriesThere, ...]
    #: SOP Instance UIDs that are on record here, or were given up
    known: frozenset[str]

    @property
    def missing(self) -> tuple[str, ...]:
        """Instances that are not here."""
        return tuple(uid for each in self.series for uid in each.instances if uid not in self.known)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an archive said to a question."""

    studies: tuple[StudyThere, ...]
    #: answers that name nothing, or not what was asked for
    unusable: int = 0


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What became of one study."""

    there: StudyThere
    #: instances that are on record now, of those that were missing
    received: int
    #: why others are not; None where nothing is missing
    reason: str | None = None

    @property
    def failed(self) -> int:
        """Instances that are still not here."""
        return len(self.there.missing) - self.received


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What fetching needs of the node."""

    #: SOP Instance UIDs on record under a Study Instance UID
    known: Callable[[str], Collection[str]]
    #: keeps an object durably, and gives the C-STORE status; for C-GET
    store: Callable[[Incoming], int]
    #: False: the node is stopping
    goes_on: Callable[[], bool] = field(default=lambda: True)
    #: SOP Instance UIDs that are not asked for, such as those that failed again and again
    given_up: Collection[str] = frozenset()


def find(source: Source, query: StudyQuery, hands: Hands) -> Found:
    """Ask an archive which studies match, and what of them is not here.

    Raises
    ------
    NodeError
        See `Questions.ask`.
    """
    with asking(source) as questions:
        answers = [read_study(answer) for answer in questions.ask(query.identifier())]
        matching = {each.study_instance_uid: each for each in answers if each and query.is_answered_by(each)}
        studies = tuple(_look_into(questions, study, hands) for study in matching.values())
    usable = sum(each is not None and query.is_answered_by(each) for each in answers)
    return Found(studies=tuple(each for each in studies if each.series), unusable=len(answers) - usable)


def fetch(source: Source, study: StudyThere, hands: Hands) -> Fetched:
    """Have an archive send what of a study is not here; what then is here is what counts.

    Raises
    ------
    PeerUnreachable
        The archive cannot be reached: there is no use in asking it for more.
    """
    reason: str | None = None
    for series, wanted in _requests(study):
        try:
            identifier = retrieval(study.study.study_instance_uid, series, wanted)
            reason = retrieve(source, identifier, hands.store, hands.goes_on).reason or reason
        except PeerUnreachable:
            raise
        except TransientError as error:
            # another series may come all the same
            reason = str(error)
        except PermanentError as error:
            reason = str(error)
            break
    here = set(hands.known(study.study.study_instance_uid))
    received = sum(uid in here for uid in study.missing)
    if received == len(study.missing):
        reason = None
    elif reason is None:
        reason = f"{source.address} says that it sent everything, and not all has been received"
    return Fetched(there=study, received=received, reason=reason)


def _look_into(questions: Questions, study: FoundStudy, hands: Hands) -> StudyThere:
    uid = study.study_instance_uid
    answers = list(filter(None, map(read_series, questions.ask(series_identifier(uid)))))
    wanted = {
        each.series_instance_uid: each for each in answers if each.modality in questions.source.modalities
    }
    series = tuple(
        SeriesThere(
            series_instance_uid=each.series_instance_uid,
            modality=each.modality,
            instances=_instances(questions, uid, each.series_instance_uid),
        )
        for each in wanted.values()
    )
    return StudyThere(study=study, series=series, known=frozenset({*hands.known(uid), *hands.given_up}))


def _instances(questions: Questions, study: str, series: str) -> tuple[str, ...]:
    answers = map(read_instance, questions.ask(image_identifier(study, series)))
    return tuple(dict.fromkeys(filter(None, answers)))


def _requests(study: StudyThere) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Say what to ask for: whole series where nothing of them is here, else single instances."""
    for series in study.series:
        missing = [uid for uid in series.instances if uid not in study.known]
        if missing and len(missing) == len(series.instances):
            yield series.series_instance_uid, ()
            continue
        yield from ((series.series_instance_uid, some) for some in _portions(missing))


def _portions(uids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(uids), AT_ONCE):
        yield tuple(uids[start : start + AT_ONCE])
