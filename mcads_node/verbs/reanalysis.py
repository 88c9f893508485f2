"""Having studies on record analysed again: the verb ``reanalyse``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcads_node.config import NodeConfig
from mcads_node.errors import ConfigError, PermanentError, Problem
from mcads_node.service import check_model, labels_of, load
from mcads_node.verbs.overview import state_of, which
from mcads_node.verbs.person import administrator
from mcads_node.verbs.trying import since_in
from mcads_node.workitems import Reanalysis, Wish, Workitems


@dataclass(frozen=True, kw_only=True)
class Wished:
    """What was scheduled, in images and studies."""

    studies: int
    scheduled: int
    #: images that waited for the same already
    waiting: int
    #: images whose files were let go
    without_file: int


def reanalyse_studies(
    config: Path, study: str | None, since: str | None, wish: Wish, progress: Callable[[int, int], None]
) -> Wished:
    """Schedule the analysis of one study's images, or of those of all studies since then.

    Parameters
    ----------
    config
        ``node.yaml``.
    study, since
        One of them: a study by UID or number, or an age or date as `since_in` reads it.
    wish
        How they are to be analysed.
    progress
        Told how many studies of how many are done.

    Raises
    ------
    ConfigError
        There is no such model.
    ModelUnusable
        The model may not serve, or its weights are not there.
    PermanentError
        The study is not on record, or the age is none.
    """
    if wish.model is not None:
        _must_be_usable(load(config).node, wish.model)
    workitems = state_of(config).workitems
    try:
        numbers = _numbers(workitems, study, since)
        made = []
        for done, number in enumerate(numbers):
            progress(done, len(numbers))
            made.append(workitems.reanalyse(number, wish, who=administrator()))
        progress(len(numbers), len(numbers))
    finally:
        workitems.close()
    return _sum(made)


def _numbers(workitems: Workitems, study: str | None, since: str | None) -> Sequence[str | int]:
    if study is not None:
        return [which(study)]
    try:
        moment = since_in(since or "", datetime.now(UTC))
    except ValueError as error:
        raise PermanentError(f"--since: {error}") from error
    return workitems.studies_since(moment)


def _must_be_usable(node: NodeConfig, model: str) -> None:
    known = labels_of()
    if model not in known:
        message = f"{model!r} is not a model here; there are: {', '.join(sorted(known))}"
        raise ConfigError([Problem(file="--model", line=None, key="", message=message)])
    check_model(node, model)


def _sum(made: Sequence[Reanalysis]) -> Wished:
    return Wished(
        studies=sum(each.scheduled > 0 for each in made),
        scheduled=sum(each.scheduled for each in made),
        waiting=sum(each.waiting for each in made),
        without_file=sum(each.without_file for each in made),
    )
