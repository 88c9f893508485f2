"""The square a model sees, and the way back to the source's pixels.

torchxrayvision trains on ``XRayCenterCrop`` and then ``XRayResizer``, which is scikit-image's ``resize``: a
Gaussian against aliasing, then linear interpolation. Both are linear and separable, so the whole is
one small matrix applied to the rows and to the columns of the square crop. It depends only on the crop's
side and the model's size, and is built once for each; scikit-image instead filters every source pixel anew.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mcads_node.instance import ModelGeometry

#: rows or columns of a picture, by their numbers
Places = slice | NDArray[np.intp]
ALL: Final = slice(None)
#: scipy.ndimage.gaussian_filter cuts the kernel off at this many standard deviations
_TRUNCATE = 4.0
#: output rows of one matrix product: enough for BLAS, few enough to leave most of the zeros out
_BLOCK = 16


def geometry_for(rows: int, columns: int, size: int) -> ModelGeometry:
    """Centre crop of a source matrix, exactly as torchxrayvision's ``XRayCenterCrop``.

    Parameters
    ----------
    rows, columns
        Of the source.
    size
        Side of the model's input in pixels.

    Raises
    ------
    ValueError
        Where one of them is less than 1.
    """
    side = min(rows, columns)
    return ModelGeometry(
        rows=rows,
        columns=columns,
        top=rows // 2 - side // 2,
        left=columns // 2 - side // 2,
        side=side,
        size=size,
    )


def model_input(pixels: NDArray[np.float32], geometry: ModelGeometry) -> NDArray[np.float32]:
    """Crop and resize an image to a model's input.

    Parameters
    ----------
    pixels
        float32, rows × columns of `geometry`.
    geometry
        Where the square lies.

    Returns
    -------
    ndarray of float32, size × size
        Within 1e-3 of torchxrayvision's ``XRayResizer(size)(XRayCenterCrop()(pixels[None]))`` on a range
        of ±1024.

    Raises
    ------
    ValueError
        Where `pixels` is not of the geometry's shape.
    """
    if pixels.shape != (geometry.rows, geometry.columns):
        raise ValueError(f"expected {geometry.rows} × {geometry.columns} pixels, got {pixels.shape}")
    top, left, side = geometry.top, geometry.left, geometry.side
    crop = pixels[top : top + side, left : left + side]
    resized = _resize_columns(_resize_columns(crop, geometry.size).T, geometry.size).T
    # at the border the zeros outside pull values off; scikit-image clips to the range of the input
    return np.ascontiguousarray(resized.clip(crop.min(), crop.max()))


def to_source(
    activation: NDArray[np.float32],
    geometry: ModelGeometry,
    rows: Places = ALL,
    columns: Places = ALL,
) -> NDArray[np.float32]:
    """Spread a map that spans the model's square over the source's pixels.

    Parameters
    ----------
    activation
        float32, h × w, of any resolution: its cells tile the square evenly.
    geometry
        Where the square lies in the source.
    rows, columns
        Of the source, those that are wanted; all of them by default.

    Returns
    -------
    ndarray of float32, rows × columns
        Bilinear between the cells' centres, constant beyond the outermost; 0 outside the crop.
    """
    height, width = activation.shape
    vertical = _spreading_matrix(height, geometry.side, geometry.top, geometry.rows)[rows]
    horizontal = _spreading_matrix(width, geometry.side, geometry.left, geometry.columns)[columns]
    spread: NDArray[np.float32] = (vertical @ activation.astype(np.float32)) @ horizontal.T
    return spread


def _resize_columns(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Resize each column of side × n to size × n."""
    result = np.empty((size, image.shape[1]), dtype=np.float32)
    for rows, sources, matrix in _resize_blocks(image.shape[0], size):
        np.matmul(matrix, image[sources], out=result[rows])
    return result


@lru_cache(maxsize=16)
def _resize_blocks(side: int, size: int) -> tuple[tuple[slice, slice, NDArray[np.float32]], ...]:
    """Cut the resize matrix into blocks of rows, without the zeros beside them: most of it, on shrinking."""
    whole = _resize_matrix(side, size)
    blocks = []
    for first in range(0, size, _BLOCK):
        rows = slice(first, min(first + _BLOCK, size))
        used = np.flatnonzero(whole[rows].any(axis=0))
        sources = slice(int(used[0]), int(used[-1]) + 1)
        block = np.ascontiguousarray(whole[rows, sources], dtype=np.float32)
        # shared by every caller through the cache
        block.setflags(write=False)
        blocks.append((rows, sources, block))
    return tuple(blocks)


def _resize_matrix(side: int, size: int) -> NDArray[np.float64]:
    """Build the matrix (size × side) of what scikit-image's ``resize`` does along one dimension.

    That is, where it shrinks, ``gaussian_filter`` with σ = (side / size − 1) / 2, then linear interpolation
    between pixel centres; for both, everything outside the image is 0 (``mode="constant"``).
    """
    sigma = max(0.0, (side / size - 1) / 2)
    radius = int(_TRUNCATE * sigma + 0.5)
    kernel = np.ones(1)
    if radius:
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
    centres = (np.arange(size) + 0.5) * side / size - 0.5
    below = np.floor(centres).astype(int)
    matrix = np.zeros((size, side + 2 * radius))
    for neighbour, weight in ((below, below + 1 - centres), (below + 1, centres - below)):
        for row in np.flatnonzero((neighbour >= 0) & (neighbour < side)):
            matrix[row, neighbour[row] : neighbour[row] + len(kernel)] += weight[row] * kernel
    result: NDArray[np.float64] = matrix[:, radius : radius + side]
    return result


@lru_cache(maxsize=64)
def _spreading_matrix(cells: int, side: int, first: int, length: int) -> NDArray[np.float32]:
    """Build the matrix (length × cells) from cells to pixels: those of the square from `first` on, else 0."""
    matrix = np.zeros((length, cells), dtype=np.float32)
    matrix[first : first + side] = _interpolation_matrix(cells, side)
    matrix.setflags(write=False)
    return matrix


def _interpolation_matrix(cells: int, side: int) -> NDArray[np.float32]:
    """Build the matrix (side × cells) of linear interpolation between cells, constant at the border."""
    centres = ((np.arange(side) + 0.5) * (cells / side) - 0.5).clip(0, cells - 1)
    below = np.minimum(np.floor(centres).astype(int), max(cells - 2, 0))
    matrix = np.zeros((side, cells))
    every = np.arange(side)
    np.add.at(matrix, (every, below), below + 1 - centres)
    np.add.at(matrix, (every, np.minimum(below + 1, cells - 1)), centres - below)
    return matrix.astype(np.float32)
