"""The verb by which studies are fetched from an archive."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, err, out, print_json
from mcads_node.logs import configure_logs

_DAY = ["%Y-%m-%d"]


@app.command()
def pull(
    accession: Annotated[str | None, typer.Option(help="Accession number.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
    patient_id: Annotated[str | None, typer.Option(help="Patient ID.")] = None,
    date: Annotated[
        datetime | None, typer.Option("--date", formats=_DAY, help="Only studies of that day.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(formats=_DAY, help="Only studies since that day.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="The archive, as node.yaml names it under sources.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask only, and fetch nothing.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Ask an archive for studies, and have it send those radiographs of them that are not here.

    Example: mcads-node pull --accession A123 --from pacs
    """
    from mcads_node.verbs import pulling
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    wanted = pulling.Wanted(
        accession=accession,
        study=study,
        patient_id=patient_id,
        day=date.date() if date else None,
        since=since.date() if since else None,
    )
    with steps_progress(err) as progress:
        pulled = pulling.pull(config, source, wanted, progress, dry_run=dry_run)
    told = pulling.as_json(pulled)
    if as_json:
        print_json(told)
    else:
        pulling.show_pulled(out, told)
    if pulled.exit_code:
        raise typer.Exit(pulled.exit_code)
