"""Measure how much of the machine analysis takes best: the verb ``tune``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mcads_node import phantom
from mcads_node.compute import Compute
from mcads_node.config import TUNING, Configuration, NodeConfig, Rule, Tuning
from mcads_node.engine import EngineName
from mcads_node.engine.choice import is_converted
from mcads_node.errors import NodeError
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.profile import DEFAULT
from mcads_node.result import ReportContext
from mcads_node.service import Share, check_model, compute_with, load, model_store, processors
from mcads_node.task import Analysis, AnalysisRequest
from mcads_node.yamlfile import write_yaml

#: images of which each is analysed alone, for the time that one takes
_ALONE: Final = 3
#: a share that is slower by less than this is as good, and then the one that is quicker with one image wins
_AS_GOOD: Final = 0.95
_NOBODY: Final = Requestor(ae_title="TUNE", address="127.0.0.1", called_ae_title="")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a share of the machine achieves."""

    share: Share
    images_per_second: float
    #: of one image alone: read, classify, explain, draw
    seconds_alone: float


def tune(config: Path, seconds: float, progress: Callable[[str, int, int], None]) -> list[Measured]:
    """Measure several shares on this machine, and write the best one down in the data folder.

    Parameters
    ----------
    config
        ``node.yaml``; ``workers``, ``threads`` and ``engine`` are measured where they are ``auto``.
    seconds
        How long each is measured.
    progress
        Called with what is done, how much of it, and of how many.

    Returns
    -------
    list of Measured
        The best one first.

    Raises
    ------
    NodeError
        The model cannot be used, or the data folder not be written to.
    """
    configuration = load(config)
    node = configuration.node
    check_model(node, node.analysis.model)
    data = phantom.save(phantom.radiograph())
    found: list[Measured] = []
    wanted = list(shares(node, processors()))
    for number, share in enumerate(wanted):
        progress("shares measured", number, len(wanted))
        # the first one converts the network where that is to be done: known only afterwards
        if share.engine != "torch" or node.analysis.engine == "torch" or _has_converted(node):
            found.append(_measured(configuration, share, data, seconds))
    progress("shares measured", len(wanted), len(wanted))
    ranked = sorted(found, key=lambda each: -each.images_per_second)
    good = [each for each in ranked if each.images_per_second >= _AS_GOOD * ranked[0].images_per_second]
    best = min(good, key=lambda each: each.seconds_alone)
    _write(node, best)
    return [best, *(each for each in ranked if each is not best)]


def shares(node: NodeConfig, count: int) -> Iterator[Share]:
    """Give the shares of `count` processors that are worth measuring: powers of two, none oversubscribed."""
    analysis = node.analysis
    steps = sorted({count, *(2**power for power in range(7) if 2**power <= count)})
    engines: tuple[EngineName, ...] = (analysis.engine,)
    if analysis.engine == "auto":
        engines = ("auto", "torch")
    for engine in engines:
        for workers in (
            [min(each, 64) for each in steps] if analysis.workers == "auto" else [analysis.workers]
        ):
            most = max(1, count // workers)
            several = sorted({1, most}) if analysis.threads == "auto" else [analysis.threads]
            yield from (Share(workers=workers, threads=threads, engine=engine) for threads in several)


def _has_converted(node: NodeConfig) -> bool:
    """Whether ``auto`` was something else than torch, so that torch is worth measuring besides."""
    return is_converted(model_store(node), node.analysis.model)


def _measured(configuration: Configuration, share: Share, data: bytes, seconds: float) -> Measured:
    compute = compute_with(configuration, share)
    try:
        compute.start()
        for each in [_submit(compute, data) for _ in range(share.workers)]:
            _check(each.result())
        alone = []
        for _ in range(_ALONE):
            begun = time.perf_counter()
            _check(_submit(compute, data).result())
            alone.append(time.perf_counter() - begun)
        rate = _rate(compute, data, seconds)
    finally:
        compute.stop(grace_seconds=0)
    return Measured(share=share, images_per_second=rate, seconds_alone=statistics.median(alone))


def _rate(compute: Compute, data: bytes, seconds: float) -> float:
    """Images a second while every worker always has the next one waiting."""
    begun, done = time.perf_counter(), 0
    waiting = {_submit(compute, data) for _ in range(2 * compute.workers)}
    while waiting:
        ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for each in ended:
            _check(each.result())
            done += 1
        last = time.perf_counter()
        if last - begun < seconds:
            waiting |= {_submit(compute, data) for _ in ended}
    return done / (last - begun)


def _submit(compute: Compute, data: bytes) -> Future[Analysis | Declined]:
    now = datetime.now(UTC)
    rule = Rule.model_validate(
        {"name": "tune", "when": {}, "analyse": {"explain_top_finding": True}, "send_to": ["pacs"]}
    )
    return compute.analyse(
        AnalysisRequest(
            data=data,
            circumstances=Circumstances(requestor=_NOBODY, received_at=now),
            rules=(rule,),
            rules_digest="",
            profiles={"pacs": DEFAULT},
            context=ReportContext(series_started=now, created=now),
        )
    )


def _check(outcome: Analysis | Declined) -> None:
    if isinstance(outcome, Declined):
        raise NodeError(f"the phantom was declined: {outcome.reason}")


def _write(node: NodeConfig, best: Measured) -> None:
    tuning = Tuning(
        processors=processors(),
        model=node.analysis.model,
        workers=best.share.workers,
        threads=best.share.threads,
        engine=best.share.engine,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        images_per_second=round(best.images_per_second, 2),
    )
    path = node.node.data_dir / TUNING
    try:
        write_yaml(path, tuning.model_dump())
    except OSError as error:
        raise NodeError(f"{path} cannot be written: {error.strerror}") from error
