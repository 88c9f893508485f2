"""The verbs of a site's own audit of a model, before it goes live and after."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, err, out, print_json
from mcads_node.cli.models import DEFAULT_DATA_DIR, DataDirOption, models_app
from mcads_node.logs import configure_logs

ImagesOption = Annotated[Path, typer.Option(help="Folder of the images: DICOM, or 8 bit PNG and JPEG.")]
LabelsOption = Annotated[
    Path, typer.Option(help="CSV: a column file, a column a label (1 or 0), patient where it is known.")
]


class MethodName(StrEnum):
    """How scores become probabilities."""

    TEMPERATURE = "temperature"
    PLATT = "platt"
    ISOTONIC = "isotonic"


@models_app.command("evaluate")
def models_evaluate(
    name: str,
    images: ImagesOption,
    labels: LabelsOption,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where metrics.json and the plots are put.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Judge the probabilities of this calibration.")
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(help="Judge at these, as models thresholds writes them; none: the manifest's."),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Audit a model on images whose findings are known: AUC, sensitivity, specificity, calibration.

    Exits with 65 if no image could be read.

    Example: mcads-node models evaluate densenet121-res224-all --images images --labels labels.csv --out audit
    """
    from mcads_node.evaluation.plots import require_plots
    from mcads_node.verbs.evaluation import evaluate
    from mcads_node.verbs.evaluation_tables import show_evaluation
    from mcads_node.verbs.scored import Inputs, score_images
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    if folder is not None:
        require_plots()
    inputs = Inputs(
        model=name,
        images=images,
        labels=labels,
        data_dir=data_dir,
        calibration=calibration,
        thresholds=thresholds,
    )
    with steps_progress(err) as move:
        scored = score_images(inputs, partial(move, "reading"))
        told = evaluate(scored, folder, partial(move, "judging"))
    if as_json:
        print_json(told)
        return
    show_evaluation(out, told)
    if folder is not None:
        files = "metrics.json, roc.png, reliability.png"
        out.print(f"{files} are in {folder}", highlight=False, soft_wrap=True)


@models_app.command("calibrate")
def models_calibrate(
    name: str,
    images: ImagesOption,
    labels: LabelsOption,
    site: Annotated[str, typer.Option(help="Whose images these are; every result names it.")],
    method: Annotated[MethodName, typer.Option(help="Which curve is fitted.")] = MethodName.PLATT,
    file: Annotated[
        Path | None, typer.Option("--out", help="The calibration's file; without it, SITE.yaml here.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Fit, on a site's own images, what makes probabilities of a model's scores.

    Exits with 65 if no label could be calibrated.

    Example: mcads-node models calibrate densenet121-res224-all --images dir --labels labels.csv --site north
    """
    from mcads_node.verbs.evaluation import calibrate
    from mcads_node.verbs.evaluation_tables import show_calibration, show_left_out
    from mcads_node.verbs.scored import Inputs, score_images
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    inputs = Inputs(model=name, images=images, labels=labels, data_dir=data_dir)
    target = file or Path(f"{site.replace(' ', '-')}.yaml")
    with steps_progress(err) as move:
        scored = score_images(inputs, partial(move, "reading"))
        made = calibrate(scored, site, method.value, target)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    show_calibration(out, made)
    show_left_out(out, [vars(each) for each in scored.left_out])
    out.print(f"{target}: SHA-256 {made.digest}", highlight=False, soft_wrap=True)


@models_app.command("thresholds")
def models_thresholds(
    name: str,
    images: ImagesOption,
    labels: LabelsOption,
    target: Annotated[str, typer.Option(help="sensitivity=0.9, specificity=0.9, ppv=0.5, or youden.")],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Find the thresholds that reach a target on a site's own images, as YAML for routes.yaml.

    Exits with 65 if no image could be read.

    Example: mcads-node models thresholds densenet121-res224-all --images d --labels l.csv --target youden
    """
    from mcads_node.evaluation.thresholds import Target
    from mcads_node.verbs.evaluation import find_thresholds
    from mcads_node.verbs.evaluation_tables import show_left_out, show_thresholds
    from mcads_node.verbs.scored import Inputs, score_images
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    wanted = Target.parse(target)
    inputs = Inputs(model=name, images=images, labels=labels, data_dir=data_dir)
    with steps_progress(err) as move:
        scored = score_images(inputs, partial(move, "reading"))
        told = find_thresholds(scored, wanted)
    if as_json:
        print_json(told)
        return
    show_thresholds(out, told, target)
    show_left_out(err, told["left_out"])


@app.command()
def drift(
    config: ConfigOption = DEFAULT_CONFIG,
    weeks: Annotated[int, typer.Option(min=1, max=520, help="How many weeks, back from now.")] = 8,
    reference: Annotated[
        bool, typer.Option("--set-reference", help="Compare with these weeks from now on.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Of this model; none: the node's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the distribution of scores, by device and week, with that of a reference.

    Example: mcads-node drift --weeks 4
    """
    from mcads_node.verbs.drifting import measure_drift, set_reference, show_drift

    configure_logs()
    if reference:
        span = set_reference(config, weeks, model)
        err.print(f"the reference is {span.since:%Y-%m-%d} to {span.until:%Y-%m-%d}", highlight=False)
    told = measure_drift(config, weeks, model)
    if as_json:
        print_json(told)
    else:
        show_drift(out, told)
