"""What the verbs of the rules print for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_MARKS = {"holds": "[green]yes[/]", "does not hold": "no ", "cannot be decided": "[yellow]?  [/]"}
#: numbers of images that a line names; --json names all
_NAMED = 20


def show_rules(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``routes check`` found."""
    for rule in found["rules"]:
        _line(console, f"{rule['name']}: {_does(rule)}")
    for caution in found["cautions"]:
        place = f"{caution['file']}:{caution['line']}: {caution['key']}"
        console.print(
            f"[yellow]{escape(place)}: {escape(caution['message'])}[/]", highlight=False, soft_wrap=True
        )
    _line(console, f"{len(found['rules'])} rules, digest {found['digest']}")


def _does(rule: Mapping[str, Any]) -> str:
    if rule["shadow"]:
        return "reads besides, as a shadow"
    does = f"analyses, results to {', '.join(rule['send_to'])}" if rule["analyses"] else "declines"
    does += f", originals to {', '.join(rule['forward'])}" if rule["forward"] else ""
    return does + (f", {rule['priority']}" if rule["priority"] != "routine" else "")


def show_explanation(console: Console, images: Sequence[Mapping[str, Any]]) -> None:
    """Print which rule each image falls under, and every term."""
    for image in images:
        console.print(f"[bold]{escape(str(image['image']))}[/]", highlight=False, soft_wrap=True)
        for rule in image["rules"]:
            matches = "matches" if rule["matches"] else "does not match"
            matches += ", as a shadow: the rules after it are asked as well" if rule["shadow"] else ""
            _line(console, f"  {rule['name']}: {matches}")
            _terms(console, rule["terms"], "    ")
        _line(console, f"  {image['decision']}")


def _terms(console: Console, terms: Sequence[Mapping[str, Any]], indent: str) -> None:
    for term in terms:
        found = "" if "terms" in term else f"; found {term['found'] or 'nothing'}"
        text = f"{indent}{_MARKS[term['outcome']]} {escape(term['asked'] + found)}"
        console.print(text, highlight=False, soft_wrap=True)
        _terms(console, term.get("terms", ()), f"{indent}  ")


def show_replay(console: Console, found: Mapping[str, Any]) -> None:
    """Print what would change."""
    for change in found["changes"]:
        numbers = ", ".join(map(str, change["images"][:_NAMED]))
        more = ", …" if change["count"] > _NAMED else ""
        _line(console, f"{change['count']} images: {change['from']}")
        _line(console, f"  → {change['to']}")
        _line(console, f"  images {numbers}{more}")
    _line(
        console,
        f"{found['looked_at']} looked at, {found['unchanged']} as before, "
        f"{found['declined_before_rules']} declined before any rule, {len(found['not_held'])} no longer held",
    )


def show_versions(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the versions that were used."""
    table = Table()
    for column in ("no.", "digest", "since", "by", ""):
        table.add_column(column)
    for version in found:
        cells = (version["number"], version["digest"][:12], version["accepted_at"][:19], version["who"])
        table.add_row(*(escape(str(cell)) for cell in cells), escape(version["why"]))
    console.print(table)


def _line(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
