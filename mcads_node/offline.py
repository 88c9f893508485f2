"""Analyse files without a network: the verb ``analyse``."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from pydicom import dcmread

from mcads_node.analyse import analyse, compose
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.config import RoutesConfig, Rule
from mcads_node.errors import NodeError, PermanentError
from mcads_node.finding import Finding
from mcads_node.instance import Declined, InputCheck, Requestor
from mcads_node.model_store import ModelStore
from mcads_node.read import read_dataset
from mcads_node.result import ObjectKind, ReportContext, ResultObject
from mcads_node.shipped import shipped_folder
from mcads_node.state import weights_dir
from mcads_node.task import Analysis, AnalysisRequest, ReportRequest
from mcads_node.yamlfile import load_yaml

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


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One result on the disk."""

    kind: ObjectKind
    sop_instance_uid: str
    file: Path
    #: the same as PNG, for the eyes; None for an SR
    picture: Path | None


@dataclass(frozen=True, kw_only=True)
class OfflineResult:
    """What became of all files."""

    files: tuple[FileOutcome, ...]
    objects: tuple[WrittenObject, ...]
    #: what every object says of the model; empty for a model fit to serve
    caution: str


def analyse_paths(
    paths: Sequence[Path], out: Path, data_dir: Path, model: str, routes: Path | None
) -> tuple[Sequence[Path], Callable[[Callable[[Path], None]], OfflineResult]]:
    """Make ready to analyse the files among and below `paths`.

    Parameters
    ----------
    paths
        DICOM files, or folders of them.
    out
        Folder of the results.
    data_dir
        The node's data folder, which holds the model's weights.
    model
        The model's name.
    routes
        Rules to follow; None: those that are shipped.

    Returns
    -------
    files, run
        What will be analysed, and the function that does it, which is given a callback for progress.

    Raises
    ------
    NodeError
        The model cannot be used, the routes are wrong, or there is no file.
    """
    store = ModelStore(models_dir=shipped_folder("models"), weights_dir=weights_dir(data_dir))
    rules = load_yaml(routes or shipped_folder("config") / "routes.yaml", RoutesConfig).routes
    files = tuple(files_in(paths))
    if not files:
        raise PermanentError(f"there is no file in {', '.join(map(str, paths))}")
    classifier = load_classifier(store, model)
    return files, lambda progress: analyse_files(files, out, classifier, rules, progress)


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
    classifier: Classifier,
    rules: tuple[Rule, ...],
    progress: Callable[[Path], None],
) -> OfflineResult:
    """Analyse `files`, report their studies, and write all objects below `out`.

    A file that cannot be analysed is told with its reason, and the next one is analysed as if nothing had
    happened.

    Parameters
    ----------
    files
        DICOM files, Part 10 or headerless.
    out
        Folder of the results; made where it is not there.
    progress
        Called after each file.
    """
    now = datetime.now(UTC)
    context = ReportContext(series_started=now, created=now)
    outcomes: list[FileOutcome] = []
    studies: dict[str, list[Analysis]] = {}
    for file in files:
        outcome, analysis = _analyse_one(file, classifier, rules, context)
        outcomes.append(outcome)
        if analysis is not None:
            studies.setdefault(outcome.study_instance_uid, []).append(analysis)
        progress(file)
    written: list[WrittenObject] = []
    for number, analyses in enumerate(studies.values(), start=1):
        folder = out / f"study-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        written += [write_object(result, folder) for result in _objects(analyses, classifier, context)]
    caution = classifier.algorithm.caution
    return OfflineResult(files=tuple(outcomes), objects=tuple(written), caution=caution)


def _analyse_one(
    file: Path, classifier: Classifier, rules: tuple[Rule, ...], context: ReportContext
) -> tuple[FileOutcome, Analysis | None]:
    try:
        data = file.read_bytes()
        outcome = analyse(
            AnalysisRequest(data=data, requestor=NOBODY, rules=rules, context=context), classifier
        )
    except OSError as error:
        return FileOutcome(file=file, reason=f"cannot be read: {error.strerror}"), None
    except PermanentError as error:
        return FileOutcome(file=file, reason=str(error)), None
    if isinstance(outcome, Declined):
        return FileOutcome(file=file, reason=f"declined: {outcome.reason}"), None
    header = read_dataset(outcome.header)
    told = FileOutcome(
        file=file,
        study_instance_uid=str(header.StudyInstanceUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        view=outcome.view,
        rule=outcome.route.rule,
        findings=outcome.findings,
        checks=outcome.checks,
    )
    return told, outcome


def _objects(
    analyses: list[Analysis], classifier: Classifier, context: ReportContext
) -> Iterator[ResultObject]:
    readings = tuple(analysis.record() for analysis in analyses)
    yield from compose(ReportRequest(readings=readings, algorithm=classifier.algorithm, context=context))
    for analysis in analyses:
        yield from analysis.heatmaps


def write_object(result: ResultObject, folder: Path) -> WrittenObject:
    """Write one object below `folder` under its kind and UID; a capture also as PNG.

    Raises
    ------
    NodeError
        The folder cannot be written to.
    """
    file = folder / f"{result.kind}-{result.sop_instance_uid}.dcm"
    try:
        file.write_bytes(result.data)
        picture = (
            None if result.kind is ObjectKind.SR else write_picture(result.data, file.with_suffix(".png"))
        )
    except OSError as error:
        raise NodeError(f"{os.fspath(file)} cannot be written: {error.strerror}") from error
    return WrittenObject(
        kind=result.kind, sop_instance_uid=result.sop_instance_uid, file=file, picture=picture
    )


def write_picture(data: bytes, file: Path) -> Path:
    """Write the pixels of a secondary capture as a PNG."""
    Image.fromarray(dcmread(io.BytesIO(data)).pixel_array).save(file)
    return file
