"""How the domain's values lie in JSON columns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mcads_node.finding import Algorithm, CalibrationMark, Finding, Presence
from mcads_node.instance import InputCheck, Verdict
from mcads_node.structure import AnatomyReading
from mcads_node.triage_level import Basis, Triage

Json = dict[str, Any]


def algorithm_to_json(algorithm: Algorithm) -> Json:
    """Every field under its own name."""
    mark = algorithm.calibration
    calibration = None if mark is None else {**asdict(mark), "labels": list(mark.labels)}
    return {**asdict(algorithm), "labels": list(algorithm.labels), "calibration": calibration}


def algorithm_from_json(value: Json) -> Algorithm:
    """Inverse of `algorithm_to_json`."""
    # rows of the first versions have a truth value instead, which was always false
    told = {name: each for name, each in value.items() if name != "calibrated"}
    mark = value.get("calibration")
    calibration = None if mark is None else CalibrationMark(**{**mark, "labels": tuple(mark["labels"])})
    return Algorithm(**{**told, "labels": tuple(value["labels"]), "calibration": calibration})


def findings_to_json(findings: tuple[Finding, ...]) -> list[Json]:
    """One object a finding, in order; scores as plain doubles, which JSON keeps exactly."""
    return [
        {**asdict(finding), "score": float(finding.score), "threshold": float(finding.threshold)}
        for finding in findings
    ]


def findings_from_json(values: list[Json]) -> tuple[Finding, ...]:
    """Inverse of `findings_to_json`."""
    return tuple(Finding(**{**value, "presence": Presence(value["presence"])}) for value in values)


def checks_to_json(checks: tuple[InputCheck, ...]) -> list[Json]:
    """One object a check, in order."""
    return [asdict(check) for check in checks]


def checks_from_json(values: list[Json]) -> tuple[InputCheck, ...]:
    """Inverse of `checks_to_json`."""
    return tuple(InputCheck(**{**value, "verdict": Verdict(value["verdict"])}) for value in values)


def triage_to_json(triage: Triage) -> Json:
    """Every field under its own name."""
    return {**asdict(triage), "labels": list(triage.labels)}


def triage_from_json(value: Json) -> Triage:
    """Inverse of `triage_to_json`."""
    return Triage(**{**value, "basis": Basis(value["basis"]), "labels": tuple(value["labels"])})


def anatomy_to_json(anatomy: AnatomyReading) -> Json:
    """Every field under its own name."""
    return {
        "algorithm": algorithm_to_json(anatomy.algorithm),
        "cardiothoracic_ratio": anatomy.cardiothoracic_ratio,
        "refusals": list(anatomy.refusals),
    }


def anatomy_from_json(value: Json) -> AnatomyReading:
    """Inverse of `anatomy_to_json`."""
    return AnatomyReading(
        algorithm=algorithm_from_json(value["algorithm"]),
        cardiothoracic_ratio=value["cardiothoracic_ratio"],
        refusals=tuple(value["refusals"]),
    )
