"""Verbs that look: at the configuration, at what the node has, and at what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, out, print_json
from mcads_node.logs import configure_logs


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
        print_json([vars(result) for result in results])
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
        print_json(found)
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
        print_json(found)
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
    from mcads_node.verbs.study_table import show_study

    configure_logs()
    found = describe_study(config, study)
    if as_json:
        print_json(found)
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
        print_json(found)
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
        print_json(found)
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
        print_json(found)
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
        print_json(found)
    else:
        show_destinations(out, found)
