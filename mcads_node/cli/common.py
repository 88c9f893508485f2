"""What all verbs share: the application, its options, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="mcads-node",
    help="A DICOM node that reads chest radiographs and reports to the PACS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="MCADS_CONFIG", help="The node's YAML file.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]
DEFAULT_CONFIG = Path("/etc/mcads-node/node.yaml")


def print_json(value: Any) -> None:
    """Print for a script."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201 - the verb's own output
