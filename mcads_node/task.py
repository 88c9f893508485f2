"""What is sent to a worker and what comes back: plain values that can cross a process or a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcads_node.calibration import Calibration
from mcads_node.config import ReconstructionSection, Rule, TriageRules
from mcads_node.draft import StoredFile
from mcads_node.engine import EngineName, PrecisionName
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import Circumstances, InputCheck, View
from mcads_node.profile import Profile
from mcads_node.result import ObjectKind, Referenced, Rendition, ReportContext, ResultObject
from mcads_node.route import Route
from mcads_node.structure import AnatomyReading
from mcads_node.triage_level import Triage


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalysisRequest:
    """One image to analyse."""

    #: the whole object as it was received: Part 10, or headerless; empty where the worker reads it itself
    data: bytes
    #: its name in the spool, for a worker that has the spool before it (`Folders`)
    file: str | None = None
    circumstances: Circumstances
    #: the administrator's rules, in their order
    rules: tuple[Rule, ...]
    #: of the version that they are
    rules_digest: str
    #: the rule that it falls under, where that is decided already: of a shadow
    rule: str | None = None
    #: that reads, instead of the rule's
    model: str | None = None
    #: the model of rules that name none
    default_model: str = ""
    #: of sites, of each model and site one at most; what a worker was started with
    calibrations: tuple[Calibration, ...] = ()
    #: None: images get no triage level
    triage: TriageRules | None = None
    #: whether what is found is only recorded: then no objects are made
    shadow: bool = False
    #: what each destination wants, by its name; those of the route are looked up
    profiles: Mapping[str, Profile]
    context: ReportContext


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What is known of one image afterwards."""

    route: Route
    algorithm: Algorithm
    #: name of the threshold set that was used
    threshold_set: str | None = None
    view: View
    findings: tuple[Finding, ...]
    checks: tuple[InputCheck, ...]
    #: Part 10 bytes of the source's header, without pixel data
    header: bytes
    #: as `encode_picture` gives it
    thumbnail: bytes
    #: label of the finding whose heatmap is drawn in it, or ``grad-cam-combined``
    shown: str | None
    #: heatmaps and what else draws on this image, in every rendition that the route's destinations want
    objects: tuple[ResultObject, ...]
    #: why one of them could not be made, a sentence each, without PHI
    omitted: tuple[str, ...] = ()
    #: which device made the image; empty: the header does not say
    device: str = ""
    #: None: no rules of triage are configured
    triage: Triage | None = None
    #: of a frontal image, where a segmentation model is configured
    anatomy: AnatomyReading | None = None
    #: that its worker has written itself, one for each of its contents, which are empty then
    files: tuple[StoredFile, ...] = ()

    @property
    def contents(self) -> tuple[bytes, ...]:
        """Give what is to be kept as files: the thumbnail, then each object."""
        return (self.thumbnail, *(each.data for each in self.objects))

    def kept_in(self, files: Sequence[StoredFile]) -> Analysis:
        """Give the same with files in place of the contents."""
        return replace(self, thumbnail=b"", objects=_emptied(self.objects), files=tuple(files))

    def record(self) -> ReadingRecord:
        """Give what a report needs of this analysis."""
        return ReadingRecord(
            view=self.view,
            findings=self.findings,
            checks=self.checks,
            header=self.header,
            thumbnail=self.thumbnail,
            shown=self.shown,
            triage=self.triage,
            heatmaps=tuple(
                HeatmapRecord(
                    referenced=(result.sop_class_uid, result.sop_instance_uid, result.series_instance_uid),
                    variant=result.variant,
                )
                for result in self.objects
                if result.kind is ObjectKind.HEATMAP
            ),
            anatomy=self.anatomy,
        )


@dataclass(frozen=True, kw_only=True)
class HeatmapRecord:
    """One heatmap of an image, as others refer to it."""

    referenced: Referenced
    #: of its rendition
    variant: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadingRecord:
    """An image's reading as it is kept between its analysis and its study's report."""

    view: View
    findings: tuple[Finding, ...]
    checks: tuple[InputCheck, ...]
    #: Part 10 bytes of the source's header, without pixel data
    header: bytes
    #: as `encode_picture` gives it
    thumbnail: bytes
    #: label of the finding whose heatmap is drawn in it, or ``grad-cam-combined``
    shown: str | None
    heatmaps: tuple[HeatmapRecord, ...]
    #: None: no rules of triage were configured
    triage: Triage | None = None
    #: None: no segmentation model was asked
    anatomy: AnatomyReading | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportRequest:
    """One study to report."""

    readings: tuple[ReadingRecord, ...]
    algorithm: Algorithm
    #: every rendition that the study's destinations want, each once; those of single images are passed over
    renditions: tuple[Rendition, ...]
    #: without a predecessor
    context: ReportContext
    #: the documents that this report replaces, by kind and variant
    predecessors: Mapping[tuple[ObjectKind, str], Referenced] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Composed:
    """A study's report in all its renditions."""

    objects: tuple[ResultObject, ...]
    #: why one that was wanted could not be made, a sentence each, without PHI
    omitted: tuple[str, ...] = ()
    #: that its worker has written itself, one for each of its contents, which are empty then
    files: tuple[StoredFile, ...] = ()

    @property
    def contents(self) -> tuple[bytes, ...]:
        """Give what is to be kept as files: each object."""
        return tuple(each.data for each in self.objects)

    def kept_in(self, files: Sequence[StoredFile]) -> Composed:
        """Give the same with files in place of the contents."""
        return replace(self, objects=_emptied(self.objects), files=tuple(files))


def _emptied(objects: tuple[ResultObject, ...]) -> tuple[ResultObject, ...]:
    return tuple(replace(each, data=b"") for each in objects)


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a worker on the node's own machine finds images and leaves results."""

    #: received objects
    spool: Path
    #: finished objects and thumbnails
    results: Path


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a model says of one image of an audit."""

    algorithm: Algorithm
    findings: tuple[Finding, ...]
    #: of input checks for which a node would claim nothing, a sentence each
    doubts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What every worker is started with."""

    models_dir: Path
    weights_dir: Path
    #: of rules that name none
    model: str
    #: that rules name besides, and that are loaded at the start
    others: tuple[str, ...] = ()
    #: whether demonstration models may read
    allow_demonstration: bool = True
    #: of address space beyond what the interpreter has at its start, in MiB
    memory_limit_mib: int
    #: what computes the network
    engine: EngineName = "torch"
    #: in which it may compute
    precision: PrecisionName = "float32"
    #: of one run of the network
    threads: int = 1
    #: of the node; None: on another machine, to which images and from which results go as bytes
    folders: Folders | None = None
    #: of sites, of each model and site one at most
    calibrations: tuple[Calibration, ...] = ()
    #: of the site; None: images get no triage level
    triage: TriageRules | None = None
    #: segmentation model; None: none
    anatomy: str | None = None
    #: autoencoder and the site's limit; None: the check is not made
    reconstruction: ReconstructionSection | None = None
