"""Matrix products of a worker."""

from __future__ import annotations

import os
import subprocess
import sys

_PRODUCTS = """
import pathlib
import numpy
import threadpoolctl
from mcads_node import worker
from mcads_node.task import WorkerSettings

here = pathlib.Path()
worker._limit(WorkerSettings(models_dir=here, weights_dir=here, model="any", memory_limit_mib=4096))
numpy.ones((512, 512)) @ numpy.ones((512, 512))
libraries = threadpoolctl.threadpool_info()
print({library["num_threads"] for library in libraries if library["user_api"] == "blas"})
"""


def test_they_stay_on_the_thread_that_asked() -> None:
    # in a process of its own: it is of the whole process; and untold, for the tests may be told the same
    untold = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCTS], capture_output=True, text=True, timeout=60, check=True, env=untold
    )
    assert done.stdout.strip() == "{1}"
