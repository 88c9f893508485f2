"""Waiting times in formulas.

M/M/c is exact (Erlang C). For other service times, and for arrivals that come in groups, the approximation of
Allen and Cunneen: the wait of M/M/c times half the sum of the squared coefficients of variation of intervals
and service times. With one server that is Kingman's, and for M/G/1 it is exact (Pollaczek, Khinchine). Of
work that comes in groups, each also waits for those of its own group: with one server that is exact, too, if
the variation is that of groups as a whole.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One queue before some workers."""

    #: pieces of work a second
    rate: float
    #: mean seconds that one takes a worker
    service: float
    workers: int
    #: squared coefficient of variation of the service times; 1: exponential, 0: all alike
    service_scv: float = 1.0
    #: of the intervals between arrivals, in the long run; 1: Poisson
    arrival_scv: float = 1.0
    #: of work that comes in groups: mean seconds of work of its own group that goes first
    ahead: float = 0.0

    @property
    def load(self) -> float:
        """Share of the time that a worker is busy; 1 or more: the queue grows for ever."""
        return self.rate * self.service / self.workers


def erlang_c(workers: int, offered: float) -> float:
    """Give the probability that one who comes has to wait, in M/M/c.

    Parameters
    ----------
    workers
        How many.
    offered
        Mean number of workers that the load keeps busy; below `workers`.
    """
    # by Erlang B, whose recursion has no large numbers
    blocked = 1.0
    for servers in range(1, workers + 1):
        blocked = offered * blocked / (servers + offered * blocked)
    load = offered / workers
    return blocked / (1.0 - load * (1.0 - blocked))


def mean_wait(queue: Queue) -> float:
    """Give the mean wait before service in seconds; infinity where the queue grows for ever."""
    if queue.load >= 1.0:
        return float("inf")
    waits = erlang_c(queue.workers, queue.rate * queue.service)
    exponential = waits * queue.service / (queue.workers * (1.0 - queue.load))
    return exponential * (queue.arrival_scv + queue.service_scv) / 2.0 + queue.ahead / queue.workers


def workers_for(rate: float, service: float, load: float) -> int:
    """Give the fewest workers that are busy for no more than the share `load` of their time."""
    wanted = rate * service / load
    whole = int(wanted)
    return max(1, whole if whole == wanted else whole + 1)
