"""What the verbs tell of the node's state: plain values, fit for JSON and for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mcads_node.config import NodeConfig
from mcads_node.engine import EngineSettings
from mcads_node.engine.choice import foreseen
from mcads_node.errors import PermanentError
from mcads_node.model_store.manifest import Download, Manifest, ModelManifest, SegmentationManifest
from mcads_node.model_store.store import ModelStatus, ModelStore
from mcads_node.shipped import shipped_folder
from mcads_node.state import State, open_state, weights_dir
from mcads_node.structure import AnatomyReading
from mcads_node.verbs.person import administrator
from mcads_node.verbs.triaging import triage_json, triage_of_image
from mcads_node.workitems import (
    DeliveryRecord,
    InstanceAnalysed,
    InstanceRecord,
    ResultRecord,
    Retried,
    StudyLine,
    StudyRecord,
)
from mcads_node.yamlfile import load_yaml

#: what computes where nobody configured anything else
_AS_SHIPPED: Final = EngineSettings(name="auto", precision="auto")


def list_studies(config: Path, limit: int) -> list[dict[str, Any]]:
    """Tell of the studies that were last added to, the newest first."""
    workitems = state_of(config).workitems
    try:
        return [_line(line) for line in workitems.list_studies(limit)]
    finally:
        workitems.close()


def list_refused(config: Path, limit: int) -> list[dict[str, Any]]:
    """Tell of the objects that were kept but could not be taken for what their senders said, newest first."""
    workitems = state_of(config).workitems
    try:
        return [_image(instance) | {"path": instance.path} for instance in workitems.list_refused(limit)]
    finally:
        workitems.close()


def list_turned_away(config: Path, limit: int) -> list[dict[str, Any]]:
    """Tell of the peers that were refused an association, or a SOP class within one, newest first."""
    workitems = state_of(config).workitems
    try:
        return [
            {
                "at": each.at.isoformat(),
                "requestor": each.peer.who,
                "subject": each.peer.subject,
                "reason": each.peer.reason,
                "times": each.peer.times,
            }
            for each in workitems.list_turned_away(limit)
        ]
    finally:
        workitems.close()


def describe_study(config: Path, study: str) -> dict[str, Any]:
    """Tell all that is known of one study, named by its UID or the node's number of it.

    Raises
    ------
    PermanentError
        It is not on record.
    """
    workitems = state_of(config).workitems
    try:
        return _study(workitems.show_study(which(study)))
    finally:
        workitems.close()


def retry_study(config: Path, study: str) -> Retried:
    """Have a study's quarantined work and refused deliveries tried again."""
    workitems = state_of(config).workitems
    try:
        return workitems.retry(which(study), who=administrator())
    finally:
        workitems.close()


def list_models(data_dir: Path) -> list[dict[str, Any]]:
    """Tell of the models that are installed, and of their weights."""
    store = store_at(data_dir)
    return [_model(store.describe(name), str(store.status(name))) for name in store.list()]


def _model(manifest: ModelManifest, status: str) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "status": status,
        "labels": list(manifest.labels),
        "demonstration": manifest.demonstration,
        "caution": manifest.caution,
        "licence": manifest.licence,
        "intended_use": manifest.intended_use,
    }


def describe_model(data_dir: Path, name: str) -> dict[str, Any]:
    """Tell all that is known of one model.

    Raises
    ------
    ModelUnusable
        There is no such model.
    """
    store = store_at(data_dir)
    manifest, status = store.describe(name), store.status(name)
    source, seen = manifest.source, manifest.input
    return {
        "name": name,
        "kind": manifest.kind,
        "version": manifest.version,
        "architecture": manifest.architecture,
        "status": str(status),
        "weights_digest": store.verify(name) if status is ModelStatus.READY else None,
        "engine": foreseen(store, name, _AS_SHIPPED) if status is ModelStatus.READY else None,
        "source": source.url if isinstance(source, Download) else "shipped beside its manifest",
        "input": f"{seen.size} × {seen.size}, {seen.low:g}…{seen.high:g}",
        "demonstration": manifest.demonstration,
        "caution": manifest.caution,
        "licence": manifest.licence,
        "intended_use": manifest.intended_use,
        "citation": manifest.citation,
        "outputs": _outputs(manifest),
    }


def _outputs(manifest: ModelManifest) -> list[dict[str, Any]]:
    if isinstance(manifest, Manifest):
        return [
            {"label": each.label, "operating_point": each.operating_point, "threshold": each.threshold}
            for each in manifest.outputs
            if each.operating_point is not None
        ]
    threshold = manifest.threshold if isinstance(manifest, SegmentationManifest) else None
    return [{"label": name, "operating_point": None, "threshold": threshold} for name in manifest.labels]


def store_at(data_dir: Path) -> ModelStore:
    """Open the store of models whose weights lie in a node's data folder."""
    return ModelStore(models_dir=shipped_folder("models"), weights_dir=weights_dir(data_dir))


def state_of(config: Path) -> State:
    """Open the state of the node that runs, or has run, with `config`; whoever opens it closes it.

    Raises
    ------
    PermanentError
        No node has run yet.
    """
    settings = load_yaml(config, NodeConfig)
    folder = settings.node.data_dir
    if settings.node.database is None and not folder.is_dir():
        raise PermanentError(f"{folder} (node.data_dir) is not there: no node has run with {config} yet")
    return open_state(settings)


def which(study: str) -> str | int:
    """Read a study's name on the command line: the node's number of it, or its UID."""
    return int(study) if study.isdigit() else study


def _line(line: StudyLine) -> dict[str, Any]:
    return {
        "number": line.number,
        "study_instance_uid": line.study_instance_uid,
        "first_received_at": line.first_received_at.isoformat(),
        "last_received_at": line.last_received_at.isoformat(),
        "revision": line.revision,
        "open_workitems": line.open_workitems,
        "instances": {str(state): count for state, count in line.instances.items()},
        "deliveries": {str(state): count for state, count in line.deliveries.items()},
        "waiting_for": [
            {
                "destination": each.destination,
                "pending": each.pending,
                "awaiting_commitment": each.awaiting_commitment,
                "deferred_until": each.deferred_until and each.deferred_until.isoformat(),
                "reason": each.reason,
            }
            for each in line.waiting_for
        ],
        "held_until": line.held_until and line.held_until.isoformat(),
        "trouble": line.trouble,
        "triage": triage_json(line.triage),
    }


def _study(study: StudyRecord) -> dict[str, Any]:
    return {
        **_line(study.line),
        "images": [_image(instance) for instance in study.instances],
        "results": [_result(result) for result in study.results],
        "workitems": [
            {
                "number": work.number,
                "kind": str(work.kind),
                "state": str(work.state),
                "purpose": work.purpose and str(work.purpose),
                "priority": work.priority.word,
                "held_until": work.held_until and work.held_until.isoformat(),
                "attempts": work.attempts,
                "reason": work.reason,
            }
            for work in study.workitems
        ],
        "events": [
            {
                "at": event.at.isoformat(),
                "who": event.who,
                "what": event.what,
                "subject": event.subject,
                "why": event.why,
            }
            for event in study.events
        ],
    }


def _image(instance: InstanceRecord) -> dict[str, Any]:
    analysis = instance.analysis
    told = {
        "number": instance.number,
        "sop_instance_uid": instance.sop_instance_uid,
        "requestor": instance.requestor,
        "received_at": instance.received_at.isoformat(),
        "state": str(instance.state),
        "reason": instance.reason,
        "rules_digest": instance.rules_digest,
        "file_deleted_at": instance.file_deleted_at.isoformat() if instance.file_deleted_at else None,
        "forwarded": [_delivery(each) for each in instance.forwarded],
        "shadows": [_analysis(each) for each in instance.shadows],
    }
    return told if analysis is None else told | _analysis(analysis)


def _analysis(analysis: InstanceAnalysed) -> dict[str, Any]:
    return {
        "rule": analysis.route,
        "threshold_set": analysis.threshold_set,
        "view": str(analysis.view),
        "model": analysis.algorithm.name,
        "caution": analysis.algorithm.caution,
        "findings": [
            {
                "label": finding.label,
                "score": finding.score,
                "threshold": finding.threshold,
                "presence": str(finding.presence),
                "probability": finding.probability,
            }
            for finding in analysis.findings
        ],
        "checks": [
            {"name": check.name, "verdict": str(check.verdict), "reason": check.reason}
            for check in analysis.checks
        ],
        "triage": triage_of_image(analysis.triage, analysis.findings, analysis.checks),
        "anatomy": None if analysis.anatomy is None else _anatomy(analysis.anatomy),
    }


def _anatomy(anatomy: AnatomyReading) -> dict[str, Any]:
    return {
        "model": anatomy.algorithm.name,
        "cardiothoracic_ratio": anatomy.cardiothoracic_ratio,
        "refusals": list(anatomy.refusals),
    }


def _result(result: ResultRecord) -> dict[str, Any]:
    return {
        "number": result.number,
        "kind": str(result.object.kind),
        "variant": result.object.variant,
        "sop_class_uid": result.object.sop_class_uid,
        "sop_instance_uid": result.object.sop_instance_uid,
        "revision": result.revision,
        "digest": result.object.digest,
        "path": result.object.path,
        "retracted_by": result.retracted_by,
        "rules_digest": result.rules_digest,
        "file_deleted_at": result.file_deleted_at.isoformat() if result.file_deleted_at else None,
        "deliveries": [_delivery(each) for each in result.deliveries],
    }


def _delivery(delivery: DeliveryRecord) -> dict[str, Any]:
    return {
        "number": delivery.number,
        "destination": delivery.destination,
        "state": str(delivery.state),
        "attempts": delivery.attempts,
        "status": delivery.status,
        "reason": delivery.reason,
        "stands_in_for": delivery.stands_in_for,
        "awaits_commitment": delivery.commitment_due_at is not None,
    }
