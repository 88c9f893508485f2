"""The verbs: each parses its arguments, calls one function, and prints what came of it.

Heavy libraries are imported by the verbs that need them, so that ``--help`` and ``show`` answer at once, and
the process that receives never loads torch.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mcads_node import __version__
from mcads_node.errors import NodeError
from mcads_node.logs import configure_logs

app = typer.Typer(
    name="mcads-node",
    help="A DICOM node that reads chest radiographs and reports to the PACS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="The models: list, fetch and verify them.", no_args_is_help=True)
app.add_typer(models_app, name="models")

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="MCADS_CONFIG", help="The node's YAML file.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]
DEFAULT_CONFIG = Path("/etc/mcads-node/node.yaml")


def main() -> None:
    """Run a verb; an error that was foreseen is told in one line, with its exit code."""
    try:
        app()
    except NodeError as error:
        err.print(f"mcads-node: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201 - the verb's own output


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"mcads-node {__version__}", highlight=False)
        raise typer.Exit


class RoleName(StrEnum):
    """A part of the node."""

    RECEIVE = "receive"
    ANALYSE = "analyse"
    DELIVER = "deliver"
    TEND = "tend"


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    role: Annotated[
        list[RoleName] | None,
        typer.Option(help="Run this part only; may be given several times. Without it: the whole node."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the node until it is told to stop (SIGTERM or Ctrl-C; SIGHUP reads the routes again).

    Example: mcads-node serve --config /etc/mcads-node/node.yaml
    """
    from mcads_node.service import ALL_ROLES, Role
    from mcads_node.service import serve as run

    configure_logs(verbose=verbose)
    run(config, frozenset(map(Role, role)) if role else ALL_ROLES)


@app.command()
def demo(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Radiographs; none: a synthetic phantom.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where everything is put.")] = Path("mcads-demo"),
) -> None:
    """Show the node at work: a node and a small PACS on this machine, real DICOM associations.

    Exits with 65 if no file could be analysed, with 75 if something did not arrive.

    Example: mcads-node demo chest.dcm
    """
    from mcads_node.verbs.demo import run_demo
    from mcads_node.verbs.tables import show_demo

    configure_logs()
    result = run_demo(files or [], folder, out)
    show_demo(out, result)
    if not result.objects:
        raise typer.Exit(65)


@app.command()
def analyse(
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")],
    folder: Annotated[Path, typer.Option("--out", help="Where the results are put.")],
    model: Annotated[str, typer.Option(help="The model that reads.")] = "densenet121-res224-all",
    data_dir: Annotated[
        Path, typer.Option(help="Folder of the node's data, where the models' weights are.")
    ] = Path("/var/lib/mcads-node"),
    routes: Annotated[
        Path | None, typer.Option(help="Routes to follow; none: those that are shipped.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Analyse files without a network, and write SR, summary page and heatmaps.

    Exits with 65 if nothing could be analysed.

    Example: mcads-node analyse study/ --out results/
    """
    from mcads_node.verbs.offline import analyse_files, files_in, offline_compute, rules_in
    from mcads_node.verbs.tables import files_progress, offline_json, show_offline

    configure_logs()
    rules, found = rules_in(routes), tuple(files_in(files))
    with offline_compute(data_dir, model) as compute, files_progress(err, len(found)) as progress:
        result = analyse_files(found, folder, compute, rules, progress)
    if as_json:
        _print_json(offline_json(result))
    else:
        show_offline(out, result, folder)
    if not any(outcome.reason is None for outcome in result.files):
        raise typer.Exit(65)


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the node that runs: is it well, and is anything stuck?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, model, database, disk, and every destination (C-ECHO); exits with 1 if one fails.

    Example: mcads-node check --live
    """
    from mcads_node.verbs.live import run_live_checks
    from mcads_node.verbs.readiness import run_checks
    from mcads_node.verbs.tables import show_checks

    configure_logs()
    results = run_live_checks(config) if live else run_checks(config)
    if as_json:
        _print_json([vars(result) for result in results])
    else:
        show_checks(out, results)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command()
def echo(destination: str, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Send a C-ECHO to one destination.

    Example: mcads-node echo pacs
    """
    from mcads_node.verbs.readiness import echo_destination

    configure_logs()
    result = echo_destination(config, destination)
    out.print(result.text, style=None if result.ok else "red", highlight=False)
    if not result.ok:
        raise typer.Exit(75)


@app.command()
def studies(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the studies that were received, newest first, and how far each has come.

    Example: mcads-node studies --limit 10
    """
    from mcads_node.verbs.overview import list_studies
    from mcads_node.verbs.tables import show_studies

    configure_logs()
    found = list_studies(config, limit)
    if as_json:
        _print_json(found)
    else:
        show_studies(out, found)


@app.command()
def refused(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    associations: Annotated[
        bool, typer.Option("--associations", help="List peers that were refused an association instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List objects that were kept, but could not be taken for what their senders said, with the reasons.

    Example: mcads-node refused --limit 10
    """
    from mcads_node.verbs.overview import list_refused, list_turned_away
    from mcads_node.verbs.tables import show_refused, show_turned_away

    configure_logs()
    found = list_turned_away(config, limit) if associations else list_refused(config, limit)
    if as_json:
        _print_json(found)
    elif associations:
        show_turned_away(out, found)
    else:
        show_refused(out, found)


@app.command()
def show(
    study: Annotated[str, typer.Argument(help="Study Instance UID, or the node's number of the study.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one study: its images, findings, results, deliveries, and everything that happened to it.

    Example: mcads-node show 17
    """
    from mcads_node.verbs.overview import describe_study
    from mcads_node.verbs.tables import show_study

    configure_logs()
    found = describe_study(config, study)
    if as_json:
        _print_json(found)
    else:
        show_study(out, found)


@app.command()
def events(
    config: ConfigOption = DEFAULT_CONFIG,
    study: Annotated[
        str | None, typer.Option(help="Of this study only: Study Instance UID, or the node's number of it.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="The first ones since then; without it, the last ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Print the record of events, which cannot be changed: who did what, to what, when and why.

    Example: mcads-node events --since 2026-01-31
    """
    from mcads_node.verbs.chronicle import list_events
    from mcads_node.verbs.tables import show_events

    configure_logs()
    found = list_events(config, study, since, limit)
    if as_json:
        _print_json(found)
    else:
        show_events(out, found)


@app.command()
def quarantined(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List images that could not be analysed and reports that could not be made, of all studies.

    Example: mcads-node quarantined --limit 10
    """
    from mcads_node.verbs.quarantined import list_quarantined, show_quarantined

    configure_logs()
    found = list_quarantined(config, limit)
    if as_json:
        _print_json(found)
    else:
        show_quarantined(out, found)


@app.command()
def undelivered(
    config: ConfigOption = DEFAULT_CONFIG,
    destination: Annotated[str | None, typer.Option(help="Of this destination only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List results that did not get to a destination and are not tried any more, with the reasons.

    Example: mcads-node undelivered --destination pacs
    """
    from mcads_node.verbs.undelivered import list_undelivered, show_undelivered

    configure_logs()
    found = list_undelivered(config, destination, limit)
    if as_json:
        _print_json(found)
    else:
        show_undelivered(out, found)


@app.command()
def destinations(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show how it stands with each destination: reachable or not, what waits for it, what it did not get.

    Example: mcads-node destinations
    """
    from mcads_node.verbs.undelivered import list_destinations, show_destinations

    configure_logs()
    found = list_destinations(config)
    if as_json:
        _print_json(found)
    else:
        show_destinations(out, found)


@app.command()
def retry(
    study: Annotated[
        str | None, typer.Argument(help="Study Instance UID, or the node's number of the study.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    destination: Annotated[
        str | None, typer.Option(help="Instead of a study: everything that this destination did not get.")
    ] = None,
) -> None:
    """Try again what of a study was quarantined or refused, or all that a destination did not get.

    Example: mcads-node retry 17
    """
    from mcads_node.verbs.overview import retry_study
    from mcads_node.verbs.undelivered import retry_destination

    if (study is None) == (destination is None):
        raise typer.BadParameter("expected a study, or --destination")
    configure_logs()
    if destination is not None:
        out.print(f"scheduled again: {retry_destination(config, destination)} deliveries", highlight=False)
    if study is not None:
        retried = retry_study(config, study)
        text = f"scheduled again: {retried.workitems} piece(s) of work, {retried.deliveries} deliveries"
        out.print(text, highlight=False)


@app.command()
def backup(
    to: Annotated[
        Path | None,
        typer.Option(help="Folder that the backup is put in; none: backup.directory of the configuration."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy the node's state, database and files, into a new folder; the node may be running.

    Example: mcads-node backup --to /mnt/backups
    """
    from mcads_node.verbs.keeping import back_up
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    with steps_progress(err) as progress:
        made = back_up(config, to, progress)
    if as_json:
        _print_json(vars(made))
    else:
        text = f"{made.folder}: database and {made.files} files, {made.size} bytes, {made.copied} copied"
        out.print(text, highlight=False, soft_wrap=True)
    if made.missing:
        err.print(f"{len(made.missing)} files are missing (see the log)", style="red", highlight=False)
        raise typer.Exit(65)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="Folder of one backup.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put a backup in place where a node has no state yet; what waited for delivery is delivered by `serve`.

    Example: mcads-node restore /mnt/backups/backup-20260131T030000000Z
    """
    from mcads_node.verbs.keeping import put_back
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    with steps_progress(err) as progress:
        done = put_back(config, backup, progress)
    waiting = ", ".join(f"{count} to {name}" for name, count in sorted(done.pending.items())) or "none"
    text = f"restored as of {done.made_at}: {done.files} files; deliveries that wait: {waiting}"
    out.print(text, highlight=False, soft_wrap=True)
    for path in done.missing:
        err.print(f"was missing when the backup was made: {path}", style="red", highlight=False)


class Title(StrEnum):
    """Why what was reported is taken back: title of the rejection note (CID 7011)."""

    QUALITY = "quality"
    SAFETY = "safety"


@app.command()
def retract(
    study: Annotated[str, typer.Argument(help="Study Instance UID, or the node's number of the study.")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the rejection note.")],
    title: Annotated[
        Title, typer.Option(help="Rejected for quality reasons, or for patient safety reasons.")
    ] = Title.QUALITY,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take back all results of a study: a rejection note (IHE IOCM) is sent to whoever has any of them.

    Example: mcads-node retract 17 --reason "Images of another patient" --title safety
    """
    from mcads_node.verbs.retraction import retract_study

    configure_logs()
    done = retract_study(config, study, reason, for_safety=title is Title.SAFETY)
    where = ", ".join(done.destinations) or "nobody, since nothing has arrived anywhere"
    text = f"retracted: {done.objects} object(s); the rejection note is sent to {where}"
    out.print(f"{text}; {done.stopped} waiting deliveries are stopped", highlight=False, soft_wrap=True)


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
        _print_json(found)
    else:
        show_models(out, found)


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
