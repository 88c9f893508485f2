"""Whether the scores of the models drift, for whoever watches the node."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mcads_node.config import Configuration, DriftSection
from mcads_node.drift import DriftPolicy, Measured, measure
from mcads_node.errors import ModelUnusable
from mcads_node.service.configured import model_store, models_of
from mcads_node.state import State
from mcads_node.tend import Job

#: scores of weeks change slowly, and reading them takes seconds
_LOOK_EVERY = timedelta(hours=6)


def policy_of(section: DriftSection) -> DriftPolicy:
    """Read the limits of the configuration."""
    return DriftPolicy(
        reference=timedelta(weeks=section.reference_weeks),
        minimum=section.minimum_images,
        psi=section.psi,
        ks=section.ks,
    )


class DriftWatch:
    """Measures the last seven days, in a job of its own.

    Parameters
    ----------
    configuration
        Models and limits.
    state
        The durable state.
    """

    def __init__(self, configuration: Configuration, state: State) -> None:
        self._configuration = configuration
        self._state = state
        #: what was measured last, by the model's name; empty: nothing yet
        self.measured: Mapping[str, Measured] = {}

    def look(self) -> None:
        """Measure now: each model that a rule has read by."""
        node = self._configuration.node
        found = {name: self._measure(name) for name in models_of(node, self._configuration.rules)}
        self.measured = {name: measured for name, measured in found.items() if measured is not None}

    def _measure(self, model: str) -> Measured | None:
        try:
            digest = model_store(self._configuration.node).verify(model)
        except ModelUnusable:
            # a process that does not analyse need not have them, and then does not know whose scores to take
            return None
        policy = policy_of(self._configuration.node.drift)
        return measure(self._state.workitems, digest, datetime.now(UTC), 1, policy)

    def jobs(self) -> list[Job]:
        """Give the job that measures."""
        return [Job(name="measure-drift", run=self.look, every=_LOOK_EVERY, soon=True)]
