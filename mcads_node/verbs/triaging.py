"""What the verbs tell of triage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from mcads_node.finding import Finding
from mcads_node.instance import InputCheck
from mcads_node.report.triage_words import reason_text, title_text
from mcads_node.triage_level import Triage


def triage_json(triage: Triage | None) -> dict[str, Any] | None:
    """Give a triage as plain values; None: no rules of triage were configured."""
    if triage is None:
        return None
    return {
        "level": triage.level,
        "basis": str(triage.basis),
        "rule": triage.rule or None,
        "findings": list(triage.labels),
        "rules_digest": triage.digest,
    }


def triage_of_image(
    triage: Triage | None, findings: Sequence[Finding], checks: Sequence[InputCheck]
) -> dict[str, Any] | None:
    """Give the triage of an image as plain values, with the reason in words."""
    told = triage_json(triage)
    if triage is None or told is None:
        return None
    return told | {"text": title_text(triage), "reason": reason_text(triage, (findings, checks))}


def show_triage(console: Console, told: Mapping[str, Any] | None) -> None:
    """Print the triage of an image; nothing where there are no rules."""
    if told is not None:
        text = escape(f"{told['text']} (not verified). {told['reason']}")
        console.print(f"  [bold]{text}[/]", highlight=False, soft_wrap=True)
