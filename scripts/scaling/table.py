"""The table of docs/scaling.md: what loads need by the formula, and then wait in the simulation."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaling.queueing import Queue, mean_wait, workers_for
from scaling.simulation import Work, gamma, percentile, simulate

#: images of a radiography study that come together
IMAGES = 3
#: workers are added until each is busy for no more of its time
LOAD = 0.7
#: squared coefficient of variation of one kind of work: measured was less
SCV = 0.01
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Service:
    """Mean seconds of a processor that work takes one worker."""

    image: float
    report: float

    @property
    def mean(self) -> float:
        return (IMAGES * self.image + self.report) / (IMAGES + 1)

    @property
    def scv(self) -> float:
        """Of an image or a report, whichever comes."""
        second = (1 + SCV) * (IMAGES * self.image**2 + self.report**2) / (IMAGES + 1)
        return second / self.mean**2 - 1

    @property
    def group_scv(self) -> float:
        """Of arrivals, so that the groups (a study's images, or its report) are right with one server."""
        images = (IMAGES * self.image) ** 2 * (1 + SCV / IMAGES)
        report = self.report**2 * (1 + SCV)
        return (images + report) / (IMAGES * self.image + self.report) / self.mean - self.scv

    @property
    def ahead(self) -> float:
        """Mean seconds of work of the same study that goes first."""
        return self.image * IMAGES * (IMAGES - 1) / 2 / (IMAGES + 1)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Who sends, and how much in the hour in which most comes."""

    name: str
    images_an_hour: int


SITES = (
    Site(name="one clinic", images_an_hour=60),
    Site(name="a busy hospital", images_an_hour=360),
    Site(name="ten hospitals", images_an_hour=3_600),
    Site(name="a national service", images_an_hour=36_000),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a site needs, and what its studies then wait."""

    site: Site
    workers: int
    load: float
    #: mean seconds before a piece of work begins
    formula: float
    simulated: float
    #: seconds from a study's arrival to its report, without the quiet time
    median: float
    p95: float


def queue_of(site: Site, service: Service, workers: int) -> Queue:
    """Give a site's queue: three images at once and then a report are four pieces of work a study."""
    studies = site.images_an_hour / IMAGES / 3600
    return Queue(
        rate=studies * (IMAGES + 1),
        service=service.mean,
        workers=workers,
        service_scv=service.scv,
        arrival_scv=service.group_scv,
        ahead=service.ahead,
    )


def lines(service: Service, *, load: float = LOAD, studies: int = 20_000) -> Iterator[Line]:
    """Work out what each site needs."""
    for site in SITES:
        one = queue_of(site, service, 1)
        workers = workers_for(one.rate, one.service, load)
        queue = queue_of(site, service, workers)
        work = Work(
            studies=queue.rate / (IMAGES + 1),
            images_of_a_study=IMAGES,
            image=gamma(service.image, SCV),
            report=gamma(service.report, SCV),
            quiet=10.0,
        )
        seen = simulate(work, workers, studies, SEED)
        yield Line(
            site=site,
            workers=workers,
            load=queue.load,
            formula=mean_wait(queue),
            simulated=sum(seen.waits) / len(seen.waits),
            median=percentile(seen.studies, 0.5),
            p95=percentile(seen.studies, 0.95),
        )


def markdown(found: Iterator[Line]) -> str:
    """Write the table as the document has it."""
    head = (
        "| peak load | images an hour | workers | busy "
        "| wait, formula | wait, simulated | study, median | study, 95 % |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {line.site.name} | {line.site.images_an_hour:,} | {line.workers} | {line.load:.0%} "
        f"| {line.formula:.2f} s | {line.simulated:.2f} s | {line.median:.1f} s | {line.p95:.1f} s |\n"
        for line in found
    )
