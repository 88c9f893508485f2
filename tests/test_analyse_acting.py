"""What a rule says of the reading: model, thresholds, objects; and which models a worker holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mcads_node import analyse as steps
from mcads_node import phantom, worker
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.config import RoutesConfig, TriageRules
from mcads_node.errors import ModelUnusable
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.model_store.store import ModelStore
from mcads_node.profile import DEFAULT
from mcads_node.result import ObjectKind, ReportContext
from mcads_node.shipped import shipped_folder
from mcads_node.task import Analysis, AnalysisRequest, WorkerSettings
from tests.model_samples import DEMONSTRATION

MODEL = DEMONSTRATION
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENDER = Requestor(ae_title="MODALITY", address="127.0.0.1", called_ae_title="MCADS")
SETS = [
    {"name": "site-a", "when": {"InstitutionName": "Site A"}, "thresholds": {"Mass": 0.1, "Edema": 0.1}},
    {"name": "old", "version": 9999, "thresholds": {"Mass": 0.2}},
    {"name": "rest", "version": 1, "thresholds": {"Mass": 0.3}},
]
NAMED = {"threshold_sets": ["site-a", "old", "rest"]}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    store = ModelStore(models_dir=shipped_folder("models"), weights_dir=tmp_path_factory.mktemp("weights"))
    yield load_classifier(store, MODEL, "cpu", threads=1)


def request(analyse: dict[str, Any] | None = None, site: str = "Site A", **more: Any) -> AnalysisRequest:
    """Ask for an image of a site, by one rule and a shadow."""
    rules = [
        {"name": "new model", "when": {}, "analyse": {"model": "other", **NAMED}, "shadow": True},
        {"name": "all", "when": {}, "analyse": analyse or {}, "send_to": ["pacs"]},
    ]
    config = RoutesConfig.model_validate({"threshold_sets": SETS, "routes": rules})
    image = phantom.radiograph(rows=64, columns=64)
    image.InstitutionName = site
    return AnalysisRequest(
        data=phantom.save(image),
        circumstances=Circumstances(requestor=SENDER, received_at=NOW),
        rules=config.routes,
        rules_digest="0" * 64,
        default_model=MODEL,
        profiles={"pacs": DEFAULT},
        context=ReportContext(series_started=NOW, created=NOW),
        **more,
    )


def analysed(classifier: Classifier, asked: AnalysisRequest) -> tuple[Analysis, list[str | None]]:
    """Analyse; gives the names of the models that were asked for too."""
    names: list[str | None] = []

    def classifier_of(name: str | None) -> Classifier:
        names.append(name)
        return classifier

    outcome = steps.analyse(asked, classifier_of)
    assert isinstance(outcome, Analysis)
    return outcome, names


def thresholds(analysis: Analysis) -> dict[str, float]:
    return {finding.label: finding.threshold for finding in analysis.findings}


@pytest.mark.parametrize(
    ("analyse", "site", "used", "mass", "edema"),
    [
        (NAMED, "SITE A ", "site-a", 0.1, 0.1),
        # of the model's version, for whoever is left
        (NAMED, "Site B", "rest", 0.3, 0.5),
        ({**NAMED, "thresholds": {"Mass": 0.9}}, "Site A", "site-a", 0.9, 0.1),
        ({"threshold_sets": "old"}, "Site A", None, 0.5, 0.5),
        ({"thresholds": {"Mass": 0.9}}, "Site A", None, 0.9, 0.5),
    ],
)
def test_thresholds_are_the_rules_then_the_sets_then_the_models(
    classifier: Classifier, analyse: dict[str, Any], site: str, used: str | None, mass: float, edema: float
) -> None:
    analysis, _ = analysed(classifier, request({**analyse, "explain": []}, site))
    assert analysis.threshold_set == used
    assert (thresholds(analysis)["Mass"], thresholds(analysis)["Edema"]) == (mass, edema)


def test_the_model_is_the_rules_or_the_one_that_is_wished(classifier: Classifier) -> None:
    quick: dict[str, Any] = {"explain": []}
    assert analysed(classifier, request(quick))[1] == [None]
    assert analysed(classifier, request({**quick, "model": "other"}))[1] == ["other"]
    wished, names = analysed(classifier, request({**quick, **NAMED}, model="third"))
    assert names == ["third"]
    # whose thresholds are its own: those of the rule are for another
    assert (wished.threshold_set, thresholds(wished)["Mass"]) == (None, 0.5)
    same, _ = analysed(classifier, request({**quick, **NAMED}, model=MODEL))
    assert same.threshold_set == "site-a"


def test_a_shadow_reads_by_its_rule_and_makes_nothing(classifier: Classifier) -> None:
    analysis, names = analysed(classifier, request(rule="new model", shadow=True))
    assert (analysis.route.rule, names, analysis.threshold_set) == ("new model", ["other"], "site-a")
    assert analysis.objects == ()
    again, names = analysed(classifier, request(model="third", shadow=True))
    assert (again.route.rule, names, again.objects, again.route.send_to) == ("all", ["third"], (), ())


def test_a_shadow_rule_that_is_gone_is_told(classifier: Classifier) -> None:
    outcome = steps.analyse(request(rule="gone", shadow=True), lambda _name: classifier)
    assert outcome == Declined(reason="the shadow rule 'gone' is not there any more")


def test_objects_are_those_of_the_rule(classifier: Classifier) -> None:
    heated, _ = analysed(classifier, request({"explain_top_finding": True}))
    assert {each.kind for each in heated.objects} == {ObjectKind.HEATMAP}
    assert {each.device_uid for each in heated.objects} == {classifier.algorithm.device_uid}
    plain, _ = analysed(classifier, request({"explain_top_finding": True, "objects": ["sr", "summary"]}))
    assert plain.objects == ()
    assert plain.route.objects == (ObjectKind.SR, ObjectKind.SUMMARY)


class Loaded(str):
    """A classifier that is but its name."""

    engine = SimpleNamespace(described="none")


def test_an_image_is_held_against_the_rules_of_triage(classifier: Classifier) -> None:
    quick: dict[str, Any] = {"explain": [], "thresholds": {"Mass": 0.0}}
    rules = TriageRules.model_validate(
        {"rules": [{"name": "mass", "level": 2, "when": {"findings": ["Mass"]}}]}
    )
    analysis, _ = analysed(classifier, request(quick, triage=rules))
    assert analysis.triage is not None
    assert (analysis.triage.level, analysis.triage.rule) == (2, "mass")
    assert analysis.record().triage == analysis.triage
    assert analysed(classifier, request(quick))[0].triage is None


class Loads:
    """Takes the place of the loading of models; remembers what was loaded."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, _store: ModelStore, name: str, **how: object) -> Classifier:
        assert how == {"threads": 1, "engine": "torch", "precision": "float32"}
        self.names.append(name)
        return cast(Classifier, Loaded(f"classifier of {name}"))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    made = Loads()
    monkeypatch.setattr(worker, "load_classifier", made)

    def seen(request_: AnalysisRequest, classifier_of: Any, _companions: Any) -> Any:
        routed = request_.rules[0].analyse
        return classifier_of(request_.model or (routed.model if routed else None))

    monkeypatch.setattr(steps, "analyse", seen)
    monkeypatch.setattr(ModelStore, "require_allowed", lambda *_args, **_more: None)
    return made


def settings(tmp_path: Path, **more: Any) -> WorkerSettings:
    return WorkerSettings(
        models_dir=shipped_folder("models"), weights_dir=tmp_path, model=MODEL, memory_limit_mib=4096, **more
    )


def test_a_worker_keeps_the_models_warm_that_rules_name(loads: Loads, tmp_path: Path) -> None:
    work = worker._Work(settings(tmp_path, others=("other",)))
    work.load()
    assert loads.names == [MODEL, "other"]
    for _ in range(2):
        assert work.analyse(request()) == cast(Any, "classifier of other")
    assert loads.names == [MODEL, "other"]
    work.analyse(request(model="third"))
    assert loads.names == [MODEL, "other", "third"]
    # no rule names it: the next image lets it go, and what rules name stays
    work.analyse(request())
    assert work._classifiers.keys() == {MODEL, "other"}
    work.analyse(replace(request(), rules=request().rules[1:]))
    assert work._classifiers.keys() == {MODEL}


def test_a_demonstration_model_needs_leave_also_where_a_rule_names_it(tmp_path: Path) -> None:
    work = worker._Work(settings(tmp_path, allow_demonstration=False))
    with pytest.raises(ModelUnusable, match="allow_demonstration_models"):
        work.load()
