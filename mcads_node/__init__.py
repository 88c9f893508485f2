"""MCADS node: a DICOM network node that reads chest radiographs and reports to the PACS."""

from importlib.metadata import version

__version__ = version("mcads-node")
