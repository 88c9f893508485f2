"""What is sent to a worker and what comes back: plain values that can cross a process or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcads_node.config import Rule
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import InputCheck, Requestor, View
from mcads_node.result import ReportContext, ResultObject
from mcads_node.route import Route


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalysisRequest:
    """One image to analyse."""

    #: the whole object as it was received: Part 10, or headerless
    data: bytes
    requestor: Requestor
    #: the administrator's rules, in their order
    rules: tuple[Rule, ...]
    context: ReportContext


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What is known of one image afterwards."""

    route: Route
    algorithm: Algorithm
    view: View
    findings: tuple[Finding, ...]
    checks: tuple[InputCheck, ...]
    #: Part 10 bytes of the source's header, without pixel data
    header: bytes
    #: PNG
    thumbnail: bytes
    heatmaps: tuple[ResultObject, ...]

    def record(self) -> ReadingRecord:
        """Give what a report needs of this analysis."""
        return ReadingRecord(
            view=self.view,
            findings=self.findings,
            checks=self.checks,
            header=self.header,
            thumbnail=self.thumbnail,
            heatmaps=tuple((result.sop_class_uid, result.sop_instance_uid) for result in self.heatmaps),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadingRecord:
    """An image's reading as it is kept between its analysis and its study's report."""

    view: View
    findings: tuple[Finding, ...]
    checks: tuple[InputCheck, ...]
    #: Part 10 bytes of the source's header, without pixel data
    header: bytes
    #: PNG
    thumbnail: bytes
    #: SOP Class and Instance UID of each heatmap
    heatmaps: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportRequest:
    """One study to report."""

    readings: tuple[ReadingRecord, ...]
    algorithm: Algorithm
    context: ReportContext


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What every worker is started with."""

    models_dir: Path
    weights_dir: Path
    model: str
    #: of address space beyond what the interpreter has at its start, in MiB
    memory_limit_mib: int
