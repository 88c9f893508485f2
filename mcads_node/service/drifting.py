"""Whether the model's scores drift, for whoever watches the node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mcads_node.config import Configuration, DriftSection
from mcads_node.drift import DriftPolicy, Measured, measure
from mcads_node.errors import ModelUnusable
from mcads_node.service.configured import model_store
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
        Model and limits.
    state
        The durable state.
    """

    def __init__(self, configuration: Configuration, state: State) -> None:
        self._configuration = configuration
        self._state = state
        #: what was measured last; None: nothing yet
        self.measured: Measured | None = None

    def look(self) -> None:
        """Measure now."""
        analysis = self._configuration.node.analysis
        try:
            digest = model_store(self._configuration.node).verify(analysis.model)
        except ModelUnusable:
            # a process that does not analyse need not have them, and then does not know whose scores to take
            self.measured = None
            return
        policy = policy_of(self._configuration.node.drift)
        self.measured = measure(self._state.workitems, digest, datetime.now(UTC), 1, policy)

    def jobs(self) -> list[Job]:
        """Give the job that measures."""
        return [Job(name="measure-drift", run=self.look, every=_LOOK_EVERY, soon=True)]
