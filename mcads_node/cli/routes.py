"""The verbs of the rules in ``routes.yaml``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, err, out, print_json
from mcads_node.errors import ConfigError
from mcads_node.logs import configure_logs

routes_app = typer.Typer(
    help="The rules of routes.yaml: check, explain, replay, reload, go back.", no_args_is_help=True
)
app.add_typer(routes_app, name="routes")

WithOption = Annotated[
    Path | None, typer.Option("--with", help="Rules to try; none: those that node.yaml names.")
]


@routes_app.command("check")
def routes_check(
    file: Annotated[Path | None, typer.Argument(help="Rules; none: those that node.yaml names.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Check rules against the node's destinations and model; exits with 78 if anything is wrong.

    Example: mcads-node routes check new.yaml
    """
    from mcads_node.verbs.rules_tables import show_rules
    from mcads_node.verbs.ruling import describe_rules, problem_json, read_rules

    configure_logs()
    try:
        book = read_rules(config, file)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"problems": [problem_json(problem) for problem in error.problems]})
        raise typer.Exit(error.exit_code) from error
    found = describe_rules(book, file or config)
    if as_json:
        print_json({"problems": [], **found})
    else:
        show_rules(out, found)


@routes_app.command("explain")
def routes_explain(
    what: Annotated[
        str, typer.Argument(help="A DICOM file; or a received study: its number or Study Instance UID.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    rules: WithOption = None,
    sender: Annotated[
        str, typer.Option("--from", help="Of a file: calling AE title, and address after an @.")
    ] = "",
    at: Annotated[
        datetime | None, typer.Option(help="Of a file: when it comes, by this machine's clock; none: now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which rule an image falls under, and term by term why no earlier one; values are shown.

    Example: mcads-node routes explain chest.dcm --from CR_ROOM1@10.20.0.7
    """
    from mcads_node.instance import Circumstances
    from mcads_node.verbs.rules_tables import show_explanation
    from mcads_node.verbs.ruling import read_rules
    from mcads_node.verbs.trying import explain_file, explain_study, requestor_in

    configure_logs()
    book = read_rules(config, rules)
    if Path(what).is_file():
        came = Circumstances(
            requestor=requestor_in(config, sender), received_at=(at or datetime.now(UTC)).astimezone()
        )
        found = [explain_file(Path(what), came, book)]
    else:
        found = explain_study(config, what, book)
    if as_json:
        print_json(found)
    else:
        show_explanation(out, found)


@routes_app.command("replay")
def routes_replay(
    rules: Annotated[Path, typer.Option("--with", help="Rules to try.")],
    since: Annotated[str, typer.Option(help="Images that came since: 7d, 12h or a date.")] = "7d",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say what other rules would do to what was received and is still held; nothing is changed or analysed.

    Example: mcads-node routes replay --since 7d --with new.yaml
    """
    from mcads_node.verbs.rules_tables import show_replay
    from mcads_node.verbs.ruling import read_rules
    from mcads_node.verbs.tables import steps_progress
    from mcads_node.verbs.trying import replay, since_in

    configure_logs()
    try:
        begin = since_in(since, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    books = read_rules(config, None), read_rules(config, rules)
    with steps_progress(err) as progress:
        found = replay(config, begin, books, lambda done, of: progress("images", done, of)).to_json()
    if as_json:
        print_json(found)
    else:
        show_replay(out, found)


@routes_app.command("reload")
def routes_reload(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Have the node that runs here use the rules as the file has them now, and wait for its answer.

    Exits with 78 if they are wrong, and the node keeps those it has; with 75 if it does not answer.

    Example: mcads-node routes reload
    """
    from mcads_node.verbs.ruling import reload_rules

    configure_logs()
    digest = reload_rules(config)
    if as_json:
        print_json({"digest": digest})
    else:
        out.print(f"accepted: {digest}", highlight=False, soft_wrap=True)


@routes_app.command("history")
def routes_history(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the rules that were used, the present one first.

    Example: mcads-node routes history --limit 5
    """
    from mcads_node.verbs.rules_tables import show_versions
    from mcads_node.verbs.ruling import list_versions

    configure_logs()
    found = list_versions(config, limit)
    if as_json:
        print_json(found)
    else:
        show_versions(out, found)


@routes_app.command("show")
def routes_show(
    digest: Annotated[str, typer.Argument(help="Digest of a version, or its beginning.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print a version of the rules as it was used.

    Example: mcads-node routes show 1f0c9a
    """
    from mcads_node.verbs.ruling import version_json, version_of

    configure_logs()
    version = version_of(config, digest)
    if as_json:
        print_json({**version_json(version), "text": version.text})
    else:
        print(version.text, end="")  # noqa: T201 - as it was, fit to be written to a file


@routes_app.command("rollback")
def routes_rollback(
    digest: Annotated[
        str | None,
        typer.Argument(help="Digest of a version, or its beginning; none: the one used before this."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier version of the rules in the file's place, keep a copy of what was there, and reload.

    Example: mcads-node routes rollback 1f0c9a
    """
    from mcads_node.verbs.ruling import roll_back

    configure_logs()
    done = roll_back(config, digest)
    if as_json:
        print_json(done)
        return
    kept = f"; what was there is {done['kept']}" if done["kept"] else ""
    used = "is used" if done["used"] else "will be used when the node starts"
    out.print(f"{done['digest']} {used}: {done['file']}{kept}", highlight=False, soft_wrap=True)
