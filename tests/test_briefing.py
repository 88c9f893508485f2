"""A study's report speaks for one model each; who replaces what, and who has anything new to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcads_node.dispatch.briefing import by_model, predecessors
from mcads_node.finding import Algorithm
from mcads_node.result import ObjectKind
from mcads_node.workitems import AnalysedImage, StudyForReport
from tests.workitems_samples import START, analysed, stored

A = replace(analysed().algorithm, name="a", device_uid="2.25.1")
B = replace(A, name="b", device_uid="2.25.2")


def image(number: int, algorithm: Algorithm) -> AnalysedImage:
    return AnalysedImage(
        number=number,
        sop_class_uid="1.2",
        sop_instance_uid=f"1.2.{number}",
        received_at=START,
        analysis=replace(analysed(), algorithm=algorithm),
    )


def study(*images: AnalysedImage, documents: tuple[str | None, ...] = ()) -> StudyForReport:
    return StudyForReport(
        study_number=1,
        study_instance_uid="1.2",
        first_received_at=START,
        revision=9,
        predecessors=tuple(replace(stored(ObjectKind.SR), device_uid=each) for each in documents),
        told=0,
        images=images,
        unread=(),
    )


def test_images_are_put_together_by_model() -> None:
    groups = by_model([image(1, A), image(2, B), image(3, A)])
    assert [[each.number for each in group] for group in groups] == [[1, 3], [2]]


@pytest.mark.parametrize(
    ("images", "documents", "found"),
    [
        ((A,), (), []),
        ((A,), ("2.25.1",), ["2.25.1"]),
        # its own, though another's is newer
        ((A, B), ("2.25.1", "2.25.2"), ["2.25.1"]),
        # another's, which speaks of no image any more
        ((A,), ("2.25.2",), ["2.25.2"]),
        ((A,), ("2.25.3", "2.25.2"), ["2.25.2"]),
        # another's, which goes on speaking for itself
        ((A, B), ("2.25.2",), []),
        # of a version of the node that did not write down whose it was
        ((A,), (None,), [None]),
    ],
)
def test_what_a_report_replaces(
    images: tuple[Algorithm, ...], documents: tuple[str | None, ...], found: list[str | None]
) -> None:
    made = study(*(image(number, each) for number, each in enumerate(images, 1)), documents=documents)
    assert [each.device_uid for each in predecessors(made, A)] == found
