"""Verbs by which a person decides about images that name another patient than their study."""

from __future__ import annotations

from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, out, print_json
from mcads_node.logs import configure_logs

StudyArgument = Annotated[str, typer.Argument(help="Study Instance UID, or the node's number of the study.")]
ImageOption = Annotated[
    int | None,
    typer.Option(help="Only this image, by the node's number of it; without it, all that are held."),
]


@app.command()
def held(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    identify: Annotated[
        bool, typer.Option("--identify", help="Print the Patient IDs too, read from the images.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List images that name another patient than their study, and wait for a decision.

    Example: mcads-node held --identify
    """
    from mcads_node.verbs.held import list_held, show_held

    configure_logs()
    found = list_held(config, limit, identify=identify)
    if as_json:
        print_json(found)
    else:
        show_held(out, found)


@app.command()
def release(
    study: StudyArgument,
    new_patient: Annotated[
        bool,
        typer.Option(
            "--new-patient/--same-patient",
            help="The study is of the patient that they name from now on, or the patient is the same.",
        ),
    ],
    image: ImageOption = None,
    keep_results: Annotated[
        bool, typer.Option("--keep-results", help="Let stand what was sent of the patient before.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take in images that are held, and have them analysed.

    Example: mcads-node release 17 --new-patient
    """
    from mcads_node.verbs.held import release_held

    configure_logs()
    done = release_held(config, study, image, new_patient=new_patient, keep_results=keep_results)
    text = f"released: {done.images} image(s) are analysed now"
    text += f"; {done.conflicts} declined, known by other bytes" if done.conflicts else ""
    text += f"; {done.standing} object(s) of the patient before stand" if done.standing else ""
    out.print(text, highlight=False, soft_wrap=True)


@app.command()
def decline(
    study: StudyArgument,
    reason: Annotated[
        str, typer.Option(help="Why; it is told in show and in reports. No names of patients.")
    ],
    image: ImageOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Decline images that are held: they are not of the study.

    Example: mcads-node decline 17 --reason "sent by mistake"
    """
    from mcads_node.verbs.held import decline_held

    configure_logs()
    out.print(f"declined: {decline_held(config, study, image, reason)} image(s)", highlight=False)
