"""From the bytes of an image of another patient to the verbs that decide about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs
from typer.testing import CliRunner

from mcads_node.cli import app
from mcads_node.config import Configuration, NodeConfig, RuleBook
from mcads_node.dispatch.briefing import Briefing
from mcads_node.instance import Requestor
from mcads_node.receive.arrival import Arrival, StoreCommand, arrival_of
from mcads_node.service import disk_guard_of
from mcads_node.service.auditing import audit_of
from mcads_node.service.intake import Intake, Pokes
from mcads_node.state import State, open_state
from mcads_node.workitems import InstanceState, Kind
from mcads_node.yamlfile import write_yaml
from tests.part10_files import data_set_bytes, radiograph
from tests.workitems_samples import LEASE, analysed

MODALITY = Requestor(ae_title="MODALITY", address="10.20.0.7", called_ae_title="MCADS")


def arrival(ds: Dataset, **values: str) -> Arrival:
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    command = StoreCommand(
        requestor=MODALITY,
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        context_sop_class_uid=ds.SOPClassUID,
        transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
    )
    return arrival_of(command, data_set_bytes(file.getvalue()))


def whose(**values: str) -> tuple[str | None, str | None]:
    ds = radiograph()
    ds.StudyInstanceUID = "1.2.3"
    came = arrival(ds, **values)
    return came.patient, came.issuer


def test_padding_makes_no_difference_and_case_does() -> None:
    known = whose(PatientID="Abc1", IssuerOfPatientID="HOSP")
    assert whose(PatientID="Abc1  ", IssuerOfPatientID=" HOSP") == known
    assert None not in known
    for other in ("ABC1", "Abc10", "0Abc1"):
        assert whose(PatientID=other)[0] != known[0]
    assert whose(PatientID="", IssuerOfPatientID="  ") == (None, None)
    # the same patient in another study has another digest
    assert whose(PatientID="Abc1", StudyInstanceUID="1.2.4")[0] != known[0]


def test_the_id_within_a_sequence_is_not_the_patients() -> None:
    ds = radiograph()
    inner = Dataset()
    inner.PatientID, inner.IssuerOfPatientID = "ANOTHER", "X"
    ds.OtherPatientIDsSequence = [inner]
    with_other = arrival(ds)
    del ds.OtherPatientIDsSequence
    assert (with_other.patient, with_other.issuer) == (arrival(ds).patient, None)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node that receives, and whose verbs are run."""

    config: Path
    state: State
    intake: Intake

    def run(self, *arguments: str) -> tuple[int, str]:
        with capture_logs():
            done = CliRunner().invoke(app, [*arguments, "--config", str(self.config)])
        return getattr(done.exception, "exit_code", done.exit_code), done.stdout

    def states(self) -> list[InstanceState]:
        return [each.state for each in self.state.workitems.show_study(1).instances]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # it would write to the runner's own stream for good
    monkeypatch.setattr("mcads_node.cli.deciding.configure_logs", lambda: None)
    marks = {"alert_below_mib": 0, "refuse_below_mib": 0}
    told = {"node": {"data_dir": str(tmp_path / "data")}, "disk": marks}
    write_yaml(tmp_path / "node.yaml", told)
    config = NodeConfig.model_validate(told)
    state = open_state(config)
    configuration = Configuration(node=config, book=RuleBook())
    audit = audit_of(configuration, state)
    intake = Intake(configuration, state, disk_guard_of(config), audit, Pokes())
    yield Site(config=tmp_path / "node.yaml", state=state, intake=intake)
    state.close()


def test_an_image_of_another_patient_is_kept_and_told_without_its_name(site: Site) -> None:
    ds = radiograph()
    with capture_logs() as logs:
        assert site.intake.keep(arrival(ds)) == 0x0000
        assert site.intake.keep(arrival(ds, PatientID="SOMEONE-ELSE")) == 0x0000
    assert [each["event"] for each in logs] == ["instance.held"]
    assert "SOMEONE" not in str(logs)
    assert site.states() == [InstanceState.RECEIVED, InstanceState.HELD]
    database = site.config.parent / "data"
    for file in database.glob("node.db*"):
        assert b"SOMEONE-ELSE" not in file.read_bytes()
        assert b"SECRET-ID" not in file.read_bytes()


def test_the_verbs(site: Site) -> None:
    assert site.run("held") == (0, "Nothing is held.\n")
    ds = radiograph()
    site.intake.keep(arrival(ds))
    site.intake.keep(arrival(ds, PatientID="SOMEONE-ELSE", IssuerOfPatientID="HOSP"))
    code, told = site.run("held", "--json")
    (held,) = json.loads(told)
    assert (code, held["study"], held["image"], held["stands_in"]) == (0, 1, 2, True)
    assert "SOMEONE" not in told
    assert "SOMEONE-ELSE / HOSP instead of SECRET-ID" in site.run("held", "--identify")[1].replace("\n", " ")
    assert site.run("release", "1")[0] == 2
    assert site.run("release", "1", "--new-patient", "--image", "1")[0] == 65
    assert site.run("decline", "1", "--reason", "mistaken", "--image", "7")[0] == 65
    assert "1 image(s) are analysed now" in site.run("release", "1", "--new-patient")[1]
    assert site.states() == [InstanceState.DECLINED, InstanceState.RECEIVED]
    other = radiograph()
    other.StudyInstanceUID = ds.StudyInstanceUID
    site.intake.keep(arrival(other, PatientID="A-THIRD"))
    assert site.run("decline", "1", "--reason", "mistaken") == (0, "declined: 1 image(s)\n")
    assert site.states()[-1] is InstanceState.DECLINED


def test_objects_of_the_new_patient_have_other_uids_though_the_images_have_the_same(site: Site) -> None:
    briefing = Briefing(site.state, {}, by_name=True)
    ds = radiograph()
    site.intake.keep(arrival(ds))
    (first,) = site.state.workitems.claim("w", LEASE, kind=Kind.ANALYSE)
    before = briefing.analysis(first).context.installation
    outcome = replace(analysed(quiet=0), thumbnail=None)
    assert site.state.workitems.complete_analysis(first, outcome)
    site.intake.keep(arrival(ds, PatientID="SOMEONE-ELSE"))
    assert site.run("release", "1", "--new-patient")[0] == 0
    (second,) = site.state.workitems.claim("w", LEASE, kind=Kind.ANALYSE)
    assert second.instance is not None
    assert second.instance.sop_instance_uid == ds.SOPInstanceUID
    of_the_image = briefing.analysis(second).context.installation
    assert before == site.state.workitems.installation()
    assert of_the_image not in ("", before)
    assert site.state.workitems.complete_analysis(second, outcome)
    (report,) = site.state.workitems.claim("w", timedelta(seconds=60), kind=Kind.REPORT)
    (request,) = briefing.reports(site.state.workitems.study_for_report(report))
    assert (len(request.readings), request.context.installation) == (1, of_the_image)
