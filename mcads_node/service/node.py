"""The composition root: configuration → objects, and the order in which they start and stop."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import structlog

from mcads_node.config import Configuration, load_rules
from mcads_node.deliver.deliverer import Deliverer, DeliverySettings
from mcads_node.deliver.send import Caller
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.profile import renditions
from mcads_node.service.configured import compute_of, destination_address, model_store
from mcads_node.service.receiver import receiver_of
from mcads_node.state import open_state
from mcads_node.tend import Tender

log = structlog.stdlib.get_logger(__name__)

#: how long a stop waits for what is being received, and for what is being analysed
RECEIVE_GRACE_SECONDS = 10.0
WORK_GRACE_SECONDS = 30.0


class Node:
    """Everything of one machine's node, in the order in which it is started.

    Parameters
    ----------
    configuration
        As checked by :func:`load`.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._labels = model_store(configuration).manifest(configuration.node.analysis.model).labels
        node = configuration.node.node
        #: the last that was started is the first to stop
        self._stops = ExitStack()
        self._state = open_state(configuration.node)
        self._stops.callback(self._state.close)
        self._name = f"{socket.gethostname()}/{node.ae_title}"
        self._compute = compute_of(configuration)
        destinations = configuration.node.destinations
        profiles = {name: renditions(each, configuration.node.report) for name, each in destinations.items()}
        self._deliverer = Deliverer(
            DeliverySettings(
                destinations={name: destination_address(each) for name, each in destinations.items()},
                caller=Caller(ae_title=node.ae_title),
                profiles=profiles,
            ),
            self._state.workitems,
            self._state.results,
        )
        self._dispatcher = Dispatcher(
            self._state,
            self._compute,
            profiles=profiles,
            poke_delivery=self._deliverer.poke,
            settings=DispatchSettings(worker=self._name),
        )
        self._dispatcher.use_rules(configuration.rules)
        self._tender = Tender(self._state, self._dispatcher.poke)
        self._receiver = receiver_of(configuration, self._state, self._dispatcher)

    def start(self) -> None:
        """Start; the receiver comes last, so that nothing is accepted that could not be worked on.

        Raises
        ------
        NodeError
            The model cannot be loaded, or the port cannot be listened on.
        """
        # what an earlier run of this node held when it died is nobody's now
        for lease in self._state.workitems.expire_leases(held_by=self._name):
            log.warning("work.lease_expired", workitem=lease.number, reason=lease.reason)
        self._stops.callback(self._compute.stop, grace_seconds=1.0)
        self._compute.start()
        self._tender.start()
        self._stops.callback(self._tender.stop)
        self._deliverer.start()
        self._stops.callback(self._deliverer.stop)
        self._dispatcher.start()
        self._stops.callback(self._dispatcher.stop, WORK_GRACE_SECONDS)
        self._receiver.start()
        self._stops.callback(self._receiver.stop, RECEIVE_GRACE_SECONDS)

    @property
    def port(self) -> int:
        """The port that the receiver listens on."""
        return self._receiver.port

    def reload_rules(self, config: Path) -> None:
        """Read the routes again, and use them from the next image on.

        They are held against the destinations and the model that this node runs with, not against what
        ``node.yaml`` says by now: that takes a restart.

        Raises
        ------
        ConfigError
            The rules are wrong; those that were used go on being used.
        """
        node = self._configuration.node
        rules = load_rules(config.parent / node.routes, node.destinations, self._labels)
        self._dispatcher.use_rules(rules)

    def stop(self) -> None:
        """Stop accepting, finish what is being received and analysed, stop delivering, close the state."""
        self._stops.close()
