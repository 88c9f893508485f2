"""The queueing model is right where that is known, and agrees with the simulation, as the document does."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.documents import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from scaling.queueing import Queue, erlang_c, mean_wait, workers_for
from scaling.simulation import Work, gamma, simulate
from scaling.table import SCV, SITES, Service, queue_of

SERVICE = Service(image=0.25, report=0.12)


def simulated(work: Work, workers: int, studies: int = 15_000) -> float:
    waits = simulate(work, workers, studies, seed=3).waits
    return sum(waits) / len(waits)


def single(rate: float, scv: float) -> Work:
    """Work that comes one by one."""
    return Work(studies=rate, images_of_a_study=1, image=gamma(1.0, scv), report=None)


def test_erlang_c_is_as_in_the_books() -> None:
    # M/M/1 waits with the probability of its load; M/M/2 at a load of 3/4: 9/14
    assert erlang_c(1, 0.6) == pytest.approx(0.6)
    assert erlang_c(2, 1.5) == pytest.approx(9 / 14)


@pytest.mark.parametrize(
    ("workers", "load", "scv"),
    [(1, 0.7, 0.0), (1, 0.5, 2.0), (3, 0.6, 1.0)],
    ids=["M/D/1", "M/G/1", "M/M/3"],
)
def test_the_simulation_finds_what_is_known_exactly(workers: int, load: float, scv: float) -> None:
    rate = load * workers
    exact = mean_wait(Queue(rate=rate, service=1.0, workers=workers, service_scv=scv))
    assert simulated(single(rate, scv), workers, 20_000) == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.7), (4, 0.5), (8, 0.8)])
def test_formula_and_simulation_agree_on_studies(workers: int, load: float) -> None:
    share = load * workers / (queue_of(SITES[0], SERVICE, 1).load)
    site = type(SITES[0])(name="made up", images_an_hour=round(SITES[0].images_an_hour * share))
    queue = queue_of(site, SERVICE, workers)
    work = Work(
        studies=queue.rate / 4,
        images_of_a_study=3,
        image=gamma(SERVICE.image, SCV),
        report=gamma(SERVICE.report, SCV),
        quiet=10.0,
    )
    tolerance = pytest.approx(mean_wait(queue), rel=0.1 if workers == 1 else 0.2, abs=0.02)
    assert simulated(work, workers) == tolerance


def test_too_much_work_waits_for_ever_and_workers_are_added_until_it_does_not() -> None:
    assert mean_wait(Queue(rate=2.0, service=1.0, workers=2)) == float("inf")
    assert [workers_for(10.0, 0.25, load) for load in (0.5, 0.7, 0.9)] == [5, 4, 3]
    assert gamma(0.3, 0.0)(random.Random(1)) == 0.3


def test_the_table_of_the_document_is_what_the_script_prints() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "simulate_load")]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert printed in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
