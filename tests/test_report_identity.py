"""Identity of results: equal for equal inputs, different for any difference, always a valid UID."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID

from mcads_node import product
from mcads_node.instance import is_valid_uid
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.identity import (
    SERIES_NUMBER,
    derive_uid,
    object_uid,
    series_description,
    series_uid,
    tracking_uid,
)
from mcads_node.report.key_objects import key_objects
from mcads_node.report.pdf import pdf_report
from mcads_node.report.sr import measurement_report
from mcads_node.result import ObjectKind
from tests.report_samples import ALGORITHM, CALIBRATED, CAUTION, CONTEXT, full, reading

THRESHOLDS = {"Pneumothorax": 0.35, "Mass": 0.5}


@given(st.lists(st.text()))
def test_a_derived_uid_is_valid(parts: list[str]) -> None:
    uid = derive_uid(*parts)
    assert is_valid_uid(uid)
    assert len(uid) <= 44
    assert uid == derive_uid(*parts)


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_different_parts_give_different_uids(one: list[str], other: list[str]) -> None:
    assert (derive_uid(*one) == derive_uid(*other)) == (one == other)


def test_uids_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert derive_uid() == "2.25.215068963823561233540513662117059083447"
    assert derive_uid("a", "ž") == "2.25.186157220061520516090494816823422763604"


def _uid(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "kind": ObjectKind.HEATMAP,
        "source_uids": ["1.2", "1.3"],
        "algorithm": ALGORITHM,
        "thresholds": THRESHOLDS,
        "detail": "Mass",
        "revision": 1,
    }
    return object_uid(**(arguments | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": ObjectKind.SR},
        {"source_uids": ["1.2"]},
        {"source_uids": ["1.2", "1.3", "1.3"]},
        {"algorithm": replace(ALGORITHM, weights_digest="f" * 64)},
        {"algorithm": replace(ALGORITHM, version="0.1.0+2")},
        {"algorithm": replace(ALGORITHM, caution=CAUTION)},
        {"algorithm": CALIBRATED},
        {"algorithm": replace(ALGORITHM, device_uid="2.25.7")},
        {"thresholds": {**THRESHOLDS, "Mass": 0.5000001}},
        {"thresholds": {"Mass": 0.5}},
        {"detail": "Nodule"},
        {"revision": 2},
    ],
)
def test_any_difference_is_another_object(changes: dict[str, Any]) -> None:
    assert _uid(**changes) != _uid()


def test_the_order_of_images_and_thresholds_does_not_matter() -> None:
    same = _uid(source_uids=["1.3", "1.2"], thresholds=dict(reversed(THRESHOLDS.items())))
    assert same == _uid()


def test_one_series_per_kind_and_model_version() -> None:
    uids = {series_uid("1.2", kind, ALGORITHM) for kind in ObjectKind}
    uids |= {series_uid("1.2", ObjectKind.SR, replace(ALGORITHM, version="0.2.0+1"))}
    uids |= {series_uid("1.3", ObjectKind.SR, ALGORITHM)}
    assert len(uids) == len(ObjectKind) + 2


def test_tracking_tells_labels_and_images_apart() -> None:
    uids = {tracking_uid(image, label, ALGORITHM) for image in ("1.2", "1.3") for label in THRESHOLDS}
    assert len(uids) == 4


def test_every_kind_has_a_number_of_its_own_in_the_high_block() -> None:
    assert set(SERIES_NUMBER) == set(ObjectKind)
    assert len(set(SERIES_NUMBER.values())) == len(ObjectKind)
    assert min(SERIES_NUMBER.values()) > 9900


@pytest.mark.parametrize("kind", ObjectKind)
def test_a_description_names_the_product_and_the_caution_and_fits(kind: ObjectKind) -> None:
    careful = replace(ALGORITHM, caution=CAUTION, name="n" * 80)
    assert series_description(kind, replace(careful, caution="TRIAL")).startswith("MCADS AI ")
    assert "AI " in series_description(kind, careful)
    assert CAUTION in series_description(kind, careful)
    assert len(series_description(kind, careful).encode()) <= 64


def test_a_caution_that_leaves_no_room_for_words_stands_first() -> None:
    careful = replace(ALGORITHM, caution="c" * 60)
    assert series_description(ObjectKind.SR, careful) == "c" * 60 + " rep"


def test_a_site_s_own_description_stands_behind_the_caution() -> None:
    careful = replace(ALGORITHM, caution=CAUTION)
    assert series_description(ObjectKind.HEATMAP, ALGORITHM, "DI radiniai") == "DI radiniai"
    assert series_description(ObjectKind.HEATMAP, careful, "ž" * 64).startswith(f"{CAUTION} žžž")
    assert len(series_description(ObjectKind.HEATMAP, careful, "ž" * 64).encode()) <= 64


def test_the_product_is_known_again() -> None:
    ours = Dataset()
    assert not product.own_output(ours)
    ours.Manufacturer = product.MANUFACTURER
    assert not product.own_output(ours)
    ours.ManufacturerModelName = product.MODEL_NAME
    assert product.own_output(ours)
    coerced = Dataset()
    coerced.Manufacturer = "PACS"
    coerced.ContributingEquipmentSequence = [ours]
    assert product.own_output(coerced)


def test_the_implementation_names_itself_within_the_limits() -> None:
    assert UID(product.IMPLEMENTATION_CLASS_UID).is_valid
    assert len(product.IMPLEMENTATION_VERSION_NAME) <= 16


def test_another_installation_makes_other_objects_in_other_series() -> None:
    """Their times differ: one UID must not have two contents."""
    here, there = (replace(CONTEXT, installation=name) for name in ("a", "b"))
    for build in (measurement_report, basic_text_report, key_objects, pdf_report):
        mine, theirs = (build([reading(full())], ALGORITHM, context) for context in (here, there))
        assert mine is not None
        assert theirs is not None
        assert mine.sop_instance_uid != theirs.sop_instance_uid
        assert mine.series_instance_uid != theirs.series_instance_uid


def test_images_that_tell_their_times_in_other_zones_have_results_in_other_series() -> None:
    """One series has one Series Time."""
    elsewhere = full(2)
    del elsewhere.TimezoneOffsetFromUTC
    made = [basic_text_report([reading(header)], ALGORITHM, CONTEXT) for header in (full(), elsewhere)]
    assert len({each.series_instance_uid for each in made}) == 2
    assert len({pydicom.dcmread(BytesIO(each.data)).SeriesTime for each in made}) == 2
