"""Anatomy: what the masks of a segmentation model say of a frontal radiograph (a step beside infer).

::

    structures → plausibility → cardiothoracic ratio, or the reasons why there is none

Everything here is pure: the model ran before (`mcads_node.companions`).
"""

from mcads_node.anatomy.measuring import read_anatomy

__all__ = ["read_anatomy"]
