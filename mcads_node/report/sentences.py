"""Sentences that other steps say in English and that a page shows: found again by their form, and translated.

The steps know nothing of languages: what they say is also logged and kept in the database, where it stays
English. A sentence that has no form here (an administrator's own words in a rule, a codec's complaint about a
damaged file) is shown as it was said.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter
from typing import Final

from mcads_node.report.translation import N_, Translator

#: with ``{fields}`` for what differs from case to case
FORMS: Final = (
    # input checks (gate), of the header
    N_("{attribute} is 'LIN': the image may be raw, not for presentation."),
    N_("{attribute} is {value}: the image may be a screen, a drawing or a document, not a radiograph."),
    N_("{attribute} says {part}; the model reads the chest."),
    N_("The view is lateral; the model reads frontal views."),
    N_("The view is neither frontal nor lateral; the model reads frontal views."),
    N_("The patient is under {years} years old; the model reads adults."),
    N_("The image has {rows} × {columns} pixels, fewer than the {size} × {other_size} that the model sees."),
    N_("The image is long and narrow: the model sees only {share} of it, in the middle."),
    N_("{attribute} is {value}, which contradicts {other} {other_value}: black and white may be exchanged."),
    N_("{attribute} is 'YES': the model may take text in the image for a finding."),
    N_("{attribute} is {value}, more than {other} can hold: the grey scale may be wrong."),
    # … and of the content
    N_("The image fills {share} of the grey scale: its display settings do not fit its pixels."),
    N_("{share} of the middle of the image is plain black: what is there cannot be seen."),
    N_("{share} of the middle of the image is plain white: what is there cannot be seen."),
    N_("The image has only {count} grey levels."),
    N_("Only {share} of the image lies within the collimated field: the rest is a flat border."),
    N_("The image does not look like a chest radiograph from the front."),
    N_("Black and white seem to be exchanged, or this is not a chest from the front."),
    N_("The image seems to be upside down, or this is not a chest from the front."),
    N_("The image seems to lie on its side, or this is not a chest from the front."),
    N_(
        "An autoencoder makes the image anew with an error of {error}, above the site's limit of {limit}: "
        "it is unlike the radiographs that it knows."
    ),
    # why there is no cardiothoracic ratio (anatomy)
    N_("The input is not fit for a model."),
    N_("The mask of the right lung covers {share} of the image, which cannot be."),
    N_("The mask of the left lung covers {share} of the image, which cannot be."),
    N_("The mask of the heart covers {share} of the image, which cannot be."),
    N_("The mask of the right lung is in pieces."),
    N_("The mask of the left lung is in pieces."),
    N_("The mask of the heart is in pieces."),
    N_("The right lung reaches the edge of what the model saw: its width is not known."),
    N_("The left lung reaches the edge of what the model saw: its width is not known."),
    N_("The heart reaches the edge of what the model saw: its width is not known."),
    N_("The mask of one lung is less than a third of that of the other."),
    N_("The masks of the lungs do not lie side by side, the right one on the left of the image."),
    N_("The mask of the heart does not lie between those of the lungs."),
    N_("The mask of the heart does not lie at the height of the lungs."),
    N_("The heart would be {share} as wide as the thorax, which cannot be."),
    N_("Patient Orientation (0020,0020) says that the image is mirrored."),
    # why an image was declined (admit, route)
    N_("it is a result of this product coming back (Manufacturer (0008,0070))"),
    N_("{attribute} is absent: a result could not refer to the image"),
    N_(
        "{attribute} is {value}, which is not a UID (PS3.5 section 9.1): "
        "a result could not refer to the image"
    ),
    N_("it is FOR PROCESSING; the model reads images FOR PRESENTATION"),
    N_("SOP class {name} is not a radiograph (expected CR, DX for presentation, secondary capture or RF)"),
    N_("it has no pixels: Rows (0028,0010) and Columns (0028,0011) are absent"),
    N_("it has {frames} frames (0028,0008); a radiograph has one"),
    N_("it is a colour image ({samples} samples per pixel (0028,0002))"),
    N_("{attribute} says {part}; the model reads the chest"),
    N_("no rule of the routes matches"),
    # what a report could not wait for, and what is not of its patient (workitems)
    N_("it had not been analysed when this report was made"),
    N_("it is held: its Patient ID (0010,0020) is another than that of the study's other images"),
    # dispatch
    N_("{count} image(s) were read by another version of the model: see the report before this one"),
)


def sentence(said: str, tr: Translator) -> str:
    """Say a step's sentence in another language."""
    for form in FORMS:
        found = _pattern(form).fullmatch(said)
        if found:
            return tr(form, **found.groupdict())
    return said


@cache
def _pattern(form: str) -> re.Pattern[str]:
    parts = (
        re.escape(text) + (f"(?P<{name}>.+?)" if name else "") for text, name, _, _ in Formatter().parse(form)
    )
    return re.compile("".join(parts))
