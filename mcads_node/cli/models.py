"""The verbs of the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcads_node.cli.common import JsonOption, app, err, out, print_json

models_app = typer.Typer(
    help="The models: list, fetch and verify them, audit and calibrate them on a site's own images.",
    no_args_is_help=True,
)
app.add_typer(models_app, name="models")

DataDirOption = Annotated[
    Path, typer.Option(help="Folder of the node's data; its sub-folder models/ holds the weights.")
]
DEFAULT_DATA_DIR = Path("/var/lib/mcads-node")


@models_app.command("list")
def models_list(data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: JsonOption = False) -> None:
    """List the models and whether their weights are here.

    Example: mcads-node models list
    """
    from mcads_node.verbs.overview import list_models
    from mcads_node.verbs.tables import show_models

    found = list_models(data_dir)
    if as_json:
        print_json(found)
    else:
        show_models(out, found)


@models_app.command("show")
def models_show(name: str, data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: JsonOption = False) -> None:
    """Show one model: labels, operating points, thresholds, weights, licence, what it is for.

    Example: mcads-node models show densenet121-res224-all
    """
    from mcads_node.verbs.evaluation_tables import show_model
    from mcads_node.verbs.overview import describe_model

    found = describe_model(data_dir, name)
    if as_json:
        print_json(found)
    else:
        show_model(out, found)


@models_app.command("fetch")
def models_fetch(
    name: str,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    file: Annotated[
        Path | None,
        typer.Option(help="The official file, brought here in another way: nothing is downloaded."),
    ] = None,
) -> None:
    """Download a model's official weights, convert them to safetensors, and record their digest.

    An interrupted download goes on where it stopped.

    Example: mcads-node models fetch densenet121-res224-all
    """
    from mcads_node.verbs.overview import store_at
    from mcads_node.verbs.tables import download_progress

    store = store_at(data_dir)
    with download_progress(err, name) as progress:
        path = store.fetch(name, progress, file)
    out.print(f"{name}: weights are in {path}, SHA-256 {store.verify(name)}", highlight=False, soft_wrap=True)


@models_app.command("verify")
def models_verify(name: str, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Check a model's weights against their digest; exits with 69 if they are not the ones.

    Example: mcads-node models verify densenet121-res224-all
    """
    from mcads_node.verbs.overview import store_at

    digest = store_at(data_dir).verify(name)
    out.print(f"{name}: weights are the pinned ones, SHA-256 {digest}", highlight=False)
