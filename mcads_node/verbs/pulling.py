"""Fetch studies from an archive by hand: the verb ``pull``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mcads_node.config import NodeConfig
from mcads_node.errors import ConfigError, PermanentError, Problem
from mcads_node.pull.fetching import Fetched, Found, Hands, StudyThere, fetch, find
from mcads_node.pull.query import StudyQuery
from mcads_node.pull.scu import Source
from mcads_node.service import disk_guard_of, load, tls_of
from mcads_node.service.auditing import audit_of
from mcads_node.service.intake import Intake, Pokes
from mcads_node.service.pulling import source_of, store_into, tell
from mcads_node.state import State, open_state
from mcads_node.verbs.person import administrator

#: told of the step, how many studies are done, and of how many
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for, as it was typed; None: not asked for."""

    accession: str | None = None
    study: str | None = None
    patient_id: str | None = None
    #: of that day, or since then
    day: date | None = None
    since: date | None = None

    def query(self) -> StudyQuery:
        """Say it in DICOM's form.

        Raises
        ------
        PermanentError
            Nothing is asked for that names a study or a patient, or in a form that no archive understands.
        """
        if not (self.accession or self.study or self.patient_id):
            raise PermanentError("expected --accession, --study or --patient-id")
        dates = "" if self.day is None else f"{self.day:%Y%m%d}"
        dates = dates if self.since is None else f"{self.since:%Y%m%d}-"
        return StudyQuery(
            accession_number=self.accession or "",
            study_instance_uid=self.study or "",
            patient_id=self.patient_id or "",
            study_date=dates,
        )


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What a pull came to."""

    source: str
    found: Found
    #: by study, of those that were not all here; empty in a dry run
    fetched: tuple[Fetched, ...]

    @property
    def exit_code(self) -> int:
        """0; 65: the archive has nothing of the sort; 75: not all came."""
        if not self.found.studies:
            return 65
        return 75 if any(each.failed for each in self.fetched) else 0


def pull(
    config: Path, source: str | None, wanted: Wanted, progress: Progress, *, dry_run: bool = False
) -> Pulled:
    """Ask an archive for studies, and have it send what of them is not here.

    Parameters
    ----------
    config
        ``node.yaml``.
    source
        Name of the archive; None: the only one there is.
    wanted
        What is asked for.
    progress
        Told how far it is.
    dry_run
        Ask only, and fetch nothing.

    Raises
    ------
    ConfigError
        There is no such source, or the configuration is wrong.
    NodeError
        The archive cannot be asked.
    """
    configuration = load(config)
    name = _named(configuration.node, source, config)
    query = wanted.query()
    state = open_state(configuration.node)
    try:
        archive = source_of(configuration.node, name, tls_of(configuration.node))
        audit = audit_of(configuration, state)
        intake = Intake(configuration, state, disk_guard_of(configuration.node), audit, Pokes())
        store = store_into(intake.keep, configuration.node, configuration.node.sources[name])
        hands = Hands(known=state.workitems.known_instances, store=store)
        found = find(archive, query, hands)
        missing = [each for each in found.studies if each.missing]
        if dry_run or not missing:
            return Pulled(source=name, found=found, fetched=())
        with _told(audit.start, audit.stop):
            fetched = tuple(_fetch(archive, missing, hands, progress))
        _note(state, name, fetched)
        return Pulled(source=name, found=found, fetched=fetched)
    finally:
        state.close()


def as_json(pulled: Pulled) -> dict[str, Any]:
    """Tell it as plain values; without Patient IDs."""
    by_study = {each.there.study.study_instance_uid: each for each in pulled.fetched}
    return {
        "source": pulled.source,
        "unusable_answers": pulled.found.unusable,
        "studies": [
            _study(each, by_study.get(each.study.study_instance_uid)) for each in pulled.found.studies
        ],
    }


def show_pulled(console: Console, told: dict[str, Any]) -> None:
    """Print what :func:`as_json` told."""
    table = Table()
    for column in (
        "study date",
        "accession",
        "modalities",
        "Study Instance UID",
        "images",
        "here",
        "fetched",
    ):
        table.add_column(column, overflow="fold")
    for each in told["studies"]:
        fetched = "" if each["received"] is None else str(each["received"])
        row = (each["study_date"], each["accession_number"], ", ".join(each["modalities"]))
        uid, numbers = each["study_instance_uid"], (str(each["images"]), str(each["here"]), fetched)
        table.add_row(*map(escape, (*row, uid, *numbers)))
    console.print(table if told["studies"] else f"{told['source']} has nothing of the sort.")
    for each in told["studies"]:
        if each["reason"]:
            text = f"{each['study_instance_uid']}: {each['failed']} image(s) did not come: {each['reason']}"
            console.print(escape(text), style="red", highlight=False, soft_wrap=True)
    if told["unusable_answers"]:
        text = f"{told['unusable_answers']} answer(s) named no study, or not what was asked for"
        console.print(text, style="yellow", highlight=False)


def _study(there: StudyThere, fetched: Fetched | None) -> dict[str, Any]:
    images = sum(len(each.instances) for each in there.series)
    return {
        "study_instance_uid": there.study.study_instance_uid,
        "study_date": there.study.study_date,
        "accession_number": there.study.accession_number,
        "modalities": sorted({each.modality for each in there.series}),
        "images": images,
        "here": images - len(there.missing),
        "received": None if fetched is None else fetched.received,
        "failed": None if fetched is None else fetched.failed,
        "reason": None if fetched is None else fetched.reason,
    }


def _named(config: NodeConfig, source: str | None, file: Path) -> str:
    names = list(config.sources)
    if source is None and len(names) == 1:
        return names[0]
    if source in names:
        return str(source)
    known = ", ".join(names) or "none"
    what = f"{source!r} is not one of them ({known})" if source else f"name one of them by --from ({known})"
    raise ConfigError([Problem(file=str(file), line=None, key="sources", message=what)])


def _fetch(
    archive: Source, missing: Sequence[StudyThere], hands: Hands, progress: Progress
) -> Iterator[Fetched]:
    for done, study in enumerate(missing):
        progress("fetching", done, len(missing))
        fetched = fetch(archive, study, hands)
        tell(fetched, archive.name)
        yield fetched
    progress("fetching", len(missing), len(missing))


@contextmanager
def _told(start: Callable[[], None], stop: Callable[[], object]) -> Iterator[None]:
    start()
    try:
        yield
    finally:
        stop()


def _note(state: State, source: str, fetched: Sequence[Fetched]) -> None:
    for each in fetched:
        why = f"{each.received} image(s) of {each.there.study.study_instance_uid}"
        why += f"; {each.failed} did not come" if each.failed else ""
        state.workitems.note(administrator(), "pulled", f"source {source}", why)
