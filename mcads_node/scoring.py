"""The way of one image of an audit: bytes in, scores out, without route, heatmap and report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcads_node.admit import admit
from mcads_node.classifier import Classifier
from mcads_node.config.checks import CHECKS
from mcads_node.gate import failed_checks
from mcads_node.infer import infer
from mcads_node.instance import Declined, InputCheck, Verdict
from mcads_node.read.picture import is_picture, read_picture
from mcads_node.read.radiograph import read_dataset, read_header, read_radiograph
from mcads_node.resample import geometry_for, model_input
from mcads_node.task import Scored


def score(data: bytes, classifier: Classifier) -> Scored | Declined:
    """Classify one image, with the manifest's thresholds.

    Parameters
    ----------
    data
        A DICOM object, which is read and looked at just as a node does it where no rule says otherwise; or an
        8 bit PNG or JPEG, whose values are taken as they are displayed, and which passes no gate.
    classifier
        A loaded model.

    Raises
    ------
    InstanceUnreadable
        It cannot be read.
    ModelUnusable
        The classifier gave no usable scores.
    """
    if is_picture(data):
        return _scored(_square(read_picture(data), classifier), (), classifier)
    declined = admit(read_header(data))
    if declined is not None:
        return declined
    radiograph = read_radiograph(read_dataset(data))
    square = _square(radiograph.pixels, classifier)
    return _scored(square, failed_checks(radiograph, square, CHECKS), classifier)


def _square(pixels: NDArray[np.float32], classifier: Classifier) -> NDArray[np.float32]:
    rows, columns = pixels.shape
    return model_input(pixels, geometry_for(rows, columns, classifier.input_size))


def _scored(square: NDArray[np.float32], checks: tuple[InputCheck, ...], classifier: Classifier) -> Scored:
    return Scored(
        algorithm=classifier.algorithm,
        findings=infer(classifier, square, {}, checks).findings,
        doubts=tuple(check.reason for check in checks if check.verdict is Verdict.UNDETERMINED),
    )
