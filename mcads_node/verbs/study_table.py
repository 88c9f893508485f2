"""What ``show`` prints: all that is known of one study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from mcads_node.verbs.tables import findings_table, short
from mcads_node.verbs.triaging import show_triage


def show_study(console: Console, study: Mapping[str, Any]) -> None:
    """Print all that is known of one study."""
    console.print(f"Study {study['number']}: {study['study_instance_uid']}", highlight=False, soft_wrap=True)
    if study["trouble"]:
        console.print(f"[bold red]{escape(study['trouble'])}[/]", highlight=False)
    for image in study["images"]:
        _show_image(console, image)
    for work in study["workitems"]:
        if work["held_until"]:
            text = f"workitem {work['number']} ({work['purpose']}): waits until {short(work['held_until'])}"
            console.print(text, highlight=False)
    for result in study["results"]:
        for delivery in result["deliveries"] or [None]:
            console.print(f"{_object(result)} {_delivery(delivery)}", highlight=False, soft_wrap=True)
    _show_events(console, study)


def _show_image(console: Console, image: Mapping[str, Any]) -> None:
    text = f"image {image['number']}: {image['state']} from {image['requestor']}"
    text += f": {escape(image['reason'])}" if image["reason"] else ""
    text += f" (rules {image['rules_digest'][:12]})" if image["rules_digest"] else ""
    console.print(text + _deleted(image), highlight=False, soft_wrap=True)
    if "findings" in image:
        console.print(findings_table(f"{image['view']}, {_way(image)}", image["findings"]))
    show_triage(console, image.get("triage"))
    for check in image.get("checks", ()):
        console.print(f"  [yellow]{check['verdict']}[/]: {escape(check['reason'])}", highlight=False)
    if image.get("anatomy"):
        console.print(f"  {escape(_measured(image['anatomy']))}", highlight=False, soft_wrap=True)
    for shadow in image["shadows"]:
        console.print(findings_table(f"shadow, not reported: {_way(shadow)}", shadow["findings"]))
    for delivery in image["forwarded"]:
        console.print(f"  original {_delivery(delivery)}", highlight=False, soft_wrap=True)


def _show_events(console: Console, study: Mapping[str, Any]) -> None:
    for event in study["events"]:
        why = f": {escape(event['why'])}" if event["why"] else ""
        line = (
            f"{event['at'][:23].replace('T', ' ')}  {event['who']}  {event['what']}  {event['subject']}{why}"
        )
        console.print(line, style="dim", highlight=False, soft_wrap=True)


def _measured(anatomy: Mapping[str, Any]) -> str:
    ratio = anatomy["cardiothoracic_ratio"]
    if ratio is None:
        return f"no cardiothoracic ratio ({anatomy['model']}): {' '.join(anatomy['refusals'])}"
    return f"cardiothoracic ratio {ratio:.2f} ({anatomy['model']}, not verified)"


def _way(analysis: Mapping[str, Any]) -> str:
    """Say by which rule, model and threshold set an image was read."""
    text = f"rule {analysis['rule']!r}, {analysis['model']}"
    return text + (f", threshold set {analysis['threshold_set']}" if analysis["threshold_set"] else "")


def _object(result: Mapping[str, Any]) -> str:
    text = f"{result['kind']:<8}"
    if result["variant"]:
        text += f" ({escape(result['variant'])})"
    return text + (" [bold red]retracted[/]" if result["retracted_by"] else "") + _deleted(result)


def _deleted(told: Mapping[str, Any]) -> str:
    return f" [dim](file deleted {told['file_deleted_at'][:10]})[/]" if told["file_deleted_at"] else ""


def _delivery(delivery: Mapping[str, Any] | None) -> str:
    if delivery is None:
        return "not due anywhere"
    text = f"→ {delivery['destination']}: {delivery['state']}"
    if delivery["status"] is not None:
        text += f" (status 0x{delivery['status']:04X})"
    if delivery["awaits_commitment"]:
        text += ", commitment awaited"
    if delivery["stands_in_for"] is not None:
        text += f", instead of delivery {delivery['stands_in_for']}"
    return text + (f", {escape(delivery['reason'])}" if delivery["reason"] else "")
