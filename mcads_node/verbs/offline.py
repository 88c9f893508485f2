"""Analyse files without a network: the verb ``analyse``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcads_node.calibration import Calibration
from mcads_node.compute import Compute, WorkerLost
from mcads_node.config import Known, RuleBook, TriageRules, load_rules, load_triage
from mcads_node.engine.choice import is_converted
from mcads_node.errors import NodeError, PermanentError
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import Circumstances, Declined, InputCheck, Requestor
from mcads_node.model_store.store import ModelStore
from mcads_node.profile import DEFAULT
from mcads_node.read.part10 import read_dataset
from mcads_node.report.readback import picture_in
from mcads_node.result import CAPTURES, ObjectKind, ReportContext, ResultObject
from mcads_node.service import labels_of
from mcads_node.shipped import shipped_folder
from mcads_node.state import weights_dir
from mcads_node.task import Analysis, AnalysisRequest, ReadingRecord, ReportRequest, WorkerSettings
from mcads_node.triage_level import Triage

_MEMORY_LIMIT_MIB = 8192
_TIMEOUT_SECONDS = 300.0

#: who "sent" a file that was named on the command line, to rules that ask
NOBODY = Requestor(ae_title="", address="127.0.0.1", called_ae_title="")


@dataclass(frozen=True, kw_only=True)
class FileOutcome:
    """What became of one file."""

    file: Path
    #: None where it was analysed
    reason: str | None = None
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    view: str = ""
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    checks: tuple[InputCheck, ...] = ()
    #: None: no rules of triage were named
    triage: Triage | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One result on the disk."""

    kind: ObjectKind
    sop_instance_uid: str
    file: Path
    #: the same as PNG, for the eyes; None where it is no capture
    picture: Path | None


@dataclass(frozen=True, kw_only=True)
class OfflineResult:
    """What became of all files."""

    files: tuple[FileOutcome, ...]
    objects: tuple[WrittenObject, ...]
    #: why a study has no report
    problems: tuple[str, ...]
    #: what every object says of the model; empty for a model fit to serve
    caution: str


@contextmanager
def offline_compute(
    data_dir: Path,
    model: str,
    workers: int = 1,
    calibration: Calibration | None = None,
    triage: TriageRules | None = None,
    anatomy: str | None = None,
) -> Iterator[Compute]:
    """Run workers with `model`, whose weights lie in the node's data folder.

    Parameters
    ----------
    data_dir
        The node's data folder.
    model
        Name of the model.
    workers
        How many processes.
    calibration
        Of the site; None: scores stay scores.
    triage
        Of the site; None: images get no triage level.
    anatomy
        Name of a segmentation model; None: nothing is measured.

    Raises
    ------
    NodeError
        The model cannot be used, with what to do.
    """
    models_dir, weights = shipped_folder("models"), weights_dir(data_dir)
    store = ModelStore(models_dir=models_dir, weights_dir=weights)
    settings = WorkerSettings(
        models_dir=models_dir,
        weights_dir=weights,
        model=model,
        memory_limit_mib=_MEMORY_LIMIT_MIB,
        # as the node of this folder does it; to convert the network for a few images would take longer
        engine="auto" if is_converted(store, model) else "torch",
        precision="auto",
        calibrations=() if calibration is None else (calibration,),
        triage=triage,
        anatomy=anatomy,
    )
    compute = Compute(settings, workers=workers, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        compute.start()
        yield compute
    finally:
        compute.stop(grace_seconds=0)


def rules_in(routes: Path | None) -> RuleBook:
    """Read the rules of a ``routes.yaml``, or those that are shipped; destinations are not asked for."""
    return load_rules(routes or shipped_folder("config") / "routes.yaml", Known())


def triage_in(rules: Path | None) -> TriageRules | None:
    """Read the rules of a ``triage.yaml``, held against the findings of all models; None where none is named.

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    labels = {label for known in labels_of().values() for label in known}
    return None if rules is None else load_triage(rules, labels)


def files_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Give the files among `paths`, and all files below the folders among them, sorted by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        else:
            yield path


def analyse_files(
    files: Sequence[Path],
    out: Path,
    compute: Compute,
    book: RuleBook,
    progress: Callable[[], None],
) -> OfflineResult:
    """Analyse `files`, report their studies, and write all objects below `out`.

    A file that cannot be analysed, even one that crashes its worker, is told with its reason, and the next
    one is analysed as if nothing had happened.

    Parameters
    ----------
    files
        DICOM files, Part 10 or headerless.
    out
        Folder of the results; made where it is not there. Each study has a folder of its own in it.
    compute
        Where the work is done.
    book
        As in ``routes.yaml``.
    progress
        Called after each file.
    """
    now = datetime.now(UTC)
    # drawn anew each time: what is written here has other times than a node's, and so needs other UIDs
    installation = str(uuid.uuid4())
    context = ReportContext(installation=installation, series_started=now, created=now)
    run = _Run(out, compute, book, context)
    outcomes = []
    for file in files:
        outcomes.append(run.analyse(file))
        progress()
    run.report()
    return OfflineResult(
        files=tuple(outcomes),
        objects=tuple(run.written),
        problems=tuple(run.problems),
        caution=run.algorithm.caution if run.algorithm else "",
    )


class _Run:
    """What is gathered while files are analysed one after the other."""

    def __init__(self, out: Path, compute: Compute, book: RuleBook, context: ReportContext) -> None:
        self._out = out
        self._compute = compute
        self._book = book
        self._context = context
        #: by Study Instance UID and model: what a report needs, without the large objects
        self._studies: dict[str, dict[Algorithm, list[ReadingRecord]]] = {}
        self._files: dict[str, Path] = {}
        self.algorithm: Algorithm | None = None
        self.written: list[WrittenObject] = []
        self.problems: list[str] = []

    def analyse(self, file: Path) -> FileOutcome:
        try:
            request = AnalysisRequest(
                data=file.read_bytes(),
                circumstances=Circumstances(requestor=NOBODY, received_at=self._context.created),
                rules=self._book.rules,
                rules_digest=self._book.digest,
                profiles={name: DEFAULT for rule in self._book.rules for name in rule.send_to},
                context=self._context,
            )
            outcome = self._compute.analyse(request).result()
        except OSError as error:
            return FileOutcome(file=file, reason=f"cannot be read: {error.strerror}")
        except (PermanentError, WorkerLost) as error:
            return FileOutcome(file=file, reason=str(error))
        if isinstance(outcome, Declined):
            return FileOutcome(file=file, reason=f"declined: {outcome.reason}")
        return self._keep(file, outcome)

    def _keep(self, file: Path, analysis: Analysis) -> FileOutcome:
        header = read_dataset(analysis.header)
        study, instance = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        if instance in self._files:
            reason = f"has the same SOP Instance UID (0008,0018) as {self._files[instance]}"
            return FileOutcome(file=file, reason=reason)
        self._files[instance] = file
        self.algorithm = analysis.algorithm
        by_model = self._studies.setdefault(study, {})
        by_model.setdefault(analysis.algorithm, []).append(analysis.record())
        self._write(study, analysis.objects)
        return FileOutcome(
            file=file,
            study_instance_uid=study,
            sop_instance_uid=instance,
            view=analysis.view,
            rule=analysis.route.rule,
            findings=analysis.findings,
            checks=analysis.checks,
            triage=analysis.triage,
        )

    def report(self) -> None:
        """Make every study's report."""
        for study, by_model in self._studies.items():
            requests = tuple(
                ReportRequest(
                    readings=tuple(records),
                    algorithm=algorithm,
                    renditions=DEFAULT.renditions,
                    context=self._context,
                )
                for algorithm, records in by_model.items()
            )
            try:
                self._write(study, self._compute.compose(requests).result().objects)
            except (PermanentError, WorkerLost) as error:
                self.problems.append(f"study {study}: no report: {error}")

    def _write(self, study: str, results: Iterable[ResultObject]) -> None:
        folder = self._out / f"study-{list(self._studies).index(study) + 1}"
        self.written += [write_object(result, folder) for result in results]


def write_object(result: ResultObject, folder: Path) -> WrittenObject:
    """Write one object below `folder` under its kind and UID; a capture also as PNG.

    Raises
    ------
    NodeError
        The folder cannot be written to.
    """
    file = folder / f"{result.kind}-{result.sop_instance_uid}.dcm"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(result.data)
        picture = file.with_suffix(".png") if result.kind in CAPTURES else None
        if picture is not None:
            picture.write_bytes(picture_in(result.data))
    except OSError as error:
        raise NodeError(f"{os.fspath(file)} cannot be written: {error.strerror}") from error
    return WrittenObject(
        kind=result.kind, sop_instance_uid=result.sop_instance_uid, file=file, picture=picture
    )
