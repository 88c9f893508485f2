"""``python -m tests.verb_server``: forks a process for each verb that it is asked for; see `tests.verbs`.

It has imported what all verbs import, and has one thread, so that nothing is held by another when it forks.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any


def _become(asked: dict[str, Any]) -> None:
    """Make this process, just forked, what a shell would have started."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, name in enumerate(asked["outputs"], start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.argv = ["mcads-node", *asked["arguments"]]


def main() -> None:
    """Answer each line with the exit code of its verb; end with the input."""
    import mcads_node.verbs.overview
    import mcads_node.verbs.readiness
    import mcads_node.verbs.tables  # noqa: F401
    from mcads_node import cli

    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: a lock of another one would stay locked in a fork"
    # or each of its collections of garbage would write to, and so copy, all that was imported
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _become(json.loads(line))
            # its end is that of the interpreter
            cli.main()
            return
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
