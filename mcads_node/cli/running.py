"""Verbs that run the node, or its work."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, err, out, print_json
from mcads_node.logs import configure_logs


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
def tune(
    config: ConfigOption = DEFAULT_CONFIG,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each share is measured.")] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Measure how many workers, with how many threads and which engine, this machine takes best.

    Writes it down as tuning.yaml in the data folder; where analysis.workers, threads and engine are auto, a
    node goes by it from its next start on. The machine should do nothing else meanwhile: stop the node first.

    Exits with 69 if the model cannot be used.

    Example: mcads-node tune --config /etc/mcads-node/node.yaml
    """
    from mcads_node.verbs.tables import show_tuning, steps_progress, tuning_json
    from mcads_node.verbs.tuning import tune as measure

    configure_logs()
    with steps_progress(err) as progress:
        found = measure(config, seconds, progress)
    if as_json:
        print_json(tuning_json(found))
    else:
        show_tuning(out, found)


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
    triage: Annotated[
        Path | None, typer.Option(help="Rules of triage, such as triage.yaml; none: no levels.")
    ] = None,
    anatomy: Annotated[
        str | None, typer.Option(help="Segmentation model that measures frontal images; none: nothing is.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Analyse files without a network, and write SR, summary page and heatmaps.

    Exits with 65 if nothing could be analysed.

    Example: mcads-node analyse study/ --out results/
    """
    from mcads_node.verbs.offline import analyse_files, files_in, offline_compute, rules_in, triage_in
    from mcads_node.verbs.tables import files_progress, offline_json, show_offline

    configure_logs()
    rules, found = rules_in(routes), tuple(files_in(files))
    levels = triage_in(triage)
    with (
        offline_compute(data_dir, model, triage=levels, anatomy=anatomy) as compute,
        files_progress(err, len(found)) as progress,
    ):
        result = analyse_files(found, folder, compute, rules, progress)
    if as_json:
        print_json(offline_json(result))
    else:
        show_offline(out, result, folder)
    if not any(outcome.reason is None for outcome in result.files):
        raise typer.Exit(65)
