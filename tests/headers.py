"""Headers as peers really write them: no value is checked on the way in."""

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def header(**attributes: object) -> Dataset:
    """Make a data set of `attributes`, however odd their values."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
    return dataset
