"""The verbs: each parses its arguments, calls one function, and prints what came of it.

Heavy libraries are imported by the verbs that need them, so that ``--help`` and ``show`` answer at once, and
the process that receives never loads torch.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mcads_node import __version__

# in the order in which --help lists them
from mcads_node.cli import running  # isort: split

from mcads_node.cli import looking  # isort: split

from mcads_node.cli import acting  # isort: split

from mcads_node.cli import deciding  # isort: split

from mcads_node.cli import pulling  # isort: split

from mcads_node.cli import routes  # isort: split

from mcads_node.cli import models  # isort: split

from mcads_node.cli import auditing
from mcads_node.cli.common import DEFAULT_CONFIG, app, err, out
from mcads_node.cli.models import DEFAULT_DATA_DIR
from mcads_node.cli.running import RoleName
from mcads_node.errors import NodeError

__all__ = [
    "DEFAULT_CONFIG",
    "DEFAULT_DATA_DIR",
    "RoleName",
    "acting",
    "app",
    "auditing",
    "deciding",
    "looking",
    "main",
    "models",
    "pulling",
    "routes",
    "running",
]


def main() -> None:
    """Run a verb; an error that was foreseen is told in one line, with its exit code."""
    try:
        app()
    except NodeError as error:
        err.print(f"mcads-node: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"mcads-node {__version__}", highlight=False)
        raise typer.Exit
