"""numpy's matrix products, told to stay on the thread that asked for them: by the workers.

OpenBLAS keeps a thread for every processor, and each of them waits for its next share by spinning for tens of
milliseconds. Reading an image ends in matrix products of a few milliseconds, and the network's forward pass
comes right after them, on processors that spin for nothing: it then takes twice as long, and the whole costs
twice the processor time (docs/decisions/0037).
"""

from __future__ import annotations

import threadpoolctl


def use_one_thread() -> None:
    """Make matrix products of this process use one thread, whichever library numpy was built with.

    Threads that wait already are put to sleep soon; none are woken anew. What torch and OpenVINO use is not
    touched.
    """
    threadpoolctl.threadpool_limits(limits=1, user_api="blas")
