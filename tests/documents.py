"""What the tests of the documentation read out of it: fenced blocks, tables, links, anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
OPERATIONS = ROOT / "docs" / "operations.md"
CONFORMANCE = ROOT / "docs" / "conformance.md"

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    document: Path
    #: 1-based line of its fence
    line: int
    #: info string, such as ``yaml routes``
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every fenced block of every document."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(document=document, line=line, info=found[1].strip(), text=found[2])


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def commands() -> dict[tuple[str, ...], str]:
    """Arguments of every ``mcads-node`` in a console block, and where it stands."""
    found: dict[tuple[str, ...], str] = {}
    for block in blocks():
        for line in block.text.splitlines() if block.info == "console" else ():
            words = shlex.split(line.removeprefix("$ "))
            if words[:1] == ["sudo"]:
                words = words[3:] if words[1] == "-u" else words[1:]
            if words and Path(words[0]).name == "mcads-node":
                found.setdefault(tuple(words[1:]), str(block))
    return found


def tables(document: Path) -> Iterator[list[list[str]]]:
    """Every table of a document: its rows, the header first, cells without surrounding spaces."""
    lines = [*prose(document).splitlines(), ""]
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []


def table(document: Path, *header: str) -> list[list[str]]:
    """The rows, without the header, of the one table whose header begins like this."""
    found = [rows[1:] for rows in tables(document) if rows[0][: len(header)] == list(header)]
    assert len(found) == 1, f"{document.name}: {len(found)} tables with the header {header}"
    return found[0]


def plain(cell: str) -> str:
    """A cell's text without code marks."""
    return cell.replace("`", "")


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as they are made on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    """Targets of a document's links and pictures."""
    return re.findall(r"\]\(([^()\s]+)\)", prose(document))
