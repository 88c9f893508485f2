"""Studies that come, wait, are analysed and reported: events in the order of their time.

A study's images come together, as a PACS forwards them. Each takes a worker for as long as an image takes.
Once all are analysed and the study was quiet, its report takes one. Workers take what came first.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True, kw_only=True)
class Work:
    """What comes, and what it takes."""

    #: studies a second, by a Poisson process
    studies: float
    images_of_a_study: int
    #: give seconds
    image: Callable[[random.Random], float]
    report: Callable[[random.Random], float] | None
    quiet: float = 0.0


@dataclass(kw_only=True)
class Seen:
    """What was seen, without the time in which the queue filled up."""

    #: seconds from due to begun, of every piece of work
    waits: list[float] = field(default_factory=list)
    #: seconds from the arrival of a study to its report, without the quiet time
    studies: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class _Study:
    came: float
    open_images: int
    counts: bool


def gamma(mean: float, scv: float) -> Callable[[random.Random], float]:
    """Give service times of this mean and squared coefficient of variation."""
    if scv == 0.0:
        return lambda _random: mean
    return lambda random: random.gammavariate(1.0 / scv, mean * scv)


def simulate(work: Work, workers: int, studies: int, seed: int) -> Seen:
    """Let so many studies come; the first tenth of them only fills the queue.

    Parameters
    ----------
    work
        What comes.
    workers
        How many there are.
    studies
        How many come.
    seed
        The same seed gives the same numbers.
    """
    simulation = _Simulation(work, workers, random.Random(seed))
    simulation.let_come(studies)
    simulation.run()
    return simulation.seen


class _Simulation:
    def __init__(self, work: Work, workers: int, chance: random.Random) -> None:
        self.seen = Seen()
        self._work = work
        self._free = workers
        self._chance = chance
        self._order = count()
        #: when, in which order, what happens, to which study
        self._events: list[tuple[float, int, str, _Study]] = []
        #: since when, which study, and what of it
        self._waiting: deque[tuple[float, _Study, str]] = deque()

    def let_come(self, studies: int) -> None:
        came = 0.0
        for number in range(studies):
            came += self._chance.expovariate(self._work.studies)
            study = _Study(
                came=came, open_images=self._work.images_of_a_study, counts=number >= studies // 10
            )
            self._at(came, "study", study)

    def run(self) -> None:
        happens = {
            "study": self._study_comes,
            "image": self._image_ends,
            "report due": self._report_is_due,
            "report": self._report_ends,
        }
        while self._events:
            now, _, what, study = heapq.heappop(self._events)
            happens[what](now, study)
            while self._free and self._waiting:
                self._begin(now, *self._waiting.popleft())

    def _at(self, when: float, what: str, study: _Study) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, study))

    def _begin(self, now: float, due: float, study: _Study, what: str) -> None:
        self._free -= 1
        if study.counts:
            self.seen.waits.append(now - due)
        report = self._work.report
        service = report if what == "report" and report is not None else self._work.image
        self._at(now + service(self._chance), what, study)

    def _study_comes(self, now: float, study: _Study) -> None:
        self._waiting.extend((now, study, "image") for _ in range(study.open_images))

    def _image_ends(self, now: float, study: _Study) -> None:
        self._free += 1
        study.open_images -= 1
        if not study.open_images and self._work.report is not None:
            self._at(now + self._work.quiet, "report due", study)

    def _report_is_due(self, now: float, study: _Study) -> None:
        self._waiting.append((now, study, "report"))

    def _report_ends(self, now: float, study: _Study) -> None:
        self._free += 1
        if study.counts:
            self.seen.studies.append(now - study.came - self._work.quiet)


def percentile(values: list[float], share: float) -> float:
    """Give the value that this share of all is below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
