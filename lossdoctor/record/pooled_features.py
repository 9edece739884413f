"""Features of images, sequences and lists of ids that do not ask where in them something stands.

A linear model on flattened pixels finds stripes of one orientation only where they start alike.
Responses to random kernels, pooled over all positions, keep what a convolutional or recurrent
network would find anywhere; of ids, how often each one occurs is what an embedding can average.

Coates and Ng, Learning feature representations with k-means (2012); Dempster, Petitjean and Webb,
ROCKET: exceptionally fast and accurate time series classification using random convolutional
kernels (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_KERNELS = 64
_WIDTH = 5
_MOST_PIXELS, _MOST_STEPS = 32, 128
_IMAGE_DILATIONS, _SEQUENCE_DILATIONS = (1, 2), (1, 2, 4)
_ROWS_AT_ONCE = 8
_MOST_IDS = 512
_SEED = 0


def pooled_features(inputs: Sequence[NDArray[Any]]) -> Floats | None:
    """Features (N, F) of the inputs of N examples, or None where none of them has any.

    Args:
        inputs: Tensors of shape (N, height, width, channels), (N, steps, channels), or whole
            numbers (N, steps).
    """
    parts = [
        _responses(tensor) if tensor.ndim > 2 else _counts(tensor)
        for tensor in inputs
        if tensor.ndim in (3, 4) or (tensor.ndim == 2 and _holds_ids(tensor))
    ]
    return np.concatenate(parts, axis=1) if parts else None


def _holds_ids(tensor: NDArray[Any]) -> bool:
    return bool(np.all(tensor >= 0) and np.all(tensor == np.round(tensor)))


def _counts(ids: NDArray[Any]) -> Floats:
    """How often each of the most frequent ids occurs in a row, and all others together."""
    values, numbers, totals = np.unique(ids, return_inverse=True, return_counts=True)
    frequent = np.argsort(totals)[::-1][:_MOST_IDS]
    column = np.full(len(values), len(frequent))
    column[frequent] = np.arange(len(frequent))
    counts = np.zeros((len(ids), len(frequent) + 1))
    rows = np.arange(len(ids))[:, None]
    np.add.at(counts, (rows, column[numbers.reshape(ids.shape)]), 1)
    return counts


def _responses(tensor: NDArray[Any]) -> Floats:
    """Largest, mean positive and standard deviation of the responses to each kernel, and the mean
    and standard deviation of each channel."""
    image = tensor.ndim == 4
    grid = tensor if image else tensor[:, :, None]
    for axis, most in ((1, _MOST_PIXELS if image else _MOST_STEPS), (2, _MOST_PIXELS)):
        grid = _shrunk(grid, axis, most)
    grid = grid.astype(np.float32)
    spread = float(grid.std())
    grid = (grid - grid.mean()) / (spread if spread > 0 else 1.0)
    flat = grid.reshape(len(grid), -1, grid.shape[-1])
    found = [flat.mean(axis=1), flat.std(axis=1)]
    random = np.random.default_rng(_SEED)
    for dilation in _IMAGE_DILATIONS if image else _SEQUENCE_DILATIONS:
        patches = _patches(grid, dilation)
        kernels = random.normal(size=(patches[0, 0, 0].size, _KERNELS)).astype(np.float32)
        kernels -= kernels.mean(axis=0)
        blocks = np.array_split(patches, -(-len(patches) // _ROWS_AT_ONCE))
        found.append(np.concatenate([_pooled(rows, kernels) for rows in blocks]))
    return np.concatenate(found, axis=1, dtype=np.float64)


def _pooled(patches: NDArray[np.float32], kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    response = patches.reshape(len(patches), -1, len(kernels)) @ kernels
    positive = np.maximum(response, 0).mean(axis=1)
    return np.concatenate([response.max(axis=1), positive, response.std(axis=1)], axis=1)


def _shrunk(grid: NDArray[Any], axis: int, most: int) -> NDArray[Any]:
    """The grid with neighbors along an axis averaged, so that it is at most twice `most` long."""
    factor = max(1, grid.shape[axis] // most)
    whole = grid.shape[axis] // factor * factor
    kept = np.take(grid, np.arange(whole), axis=axis) if factor > 1 else grid
    shape = (*grid.shape[:axis], whole // factor, factor, *grid.shape[axis + 1 :])
    return np.asarray(kept.reshape(shape).mean(axis=axis + 1))


def _patches(grid: NDArray[np.float32], dilation: int) -> NDArray[np.float32]:
    """Every patch of up to 5 x 5 positions, `dilation` apart; a view, nothing is copied."""
    reach = tuple(
        (min(_WIDTH, (size - 1) // dilation + 1) - 1) * dilation + 1 for size in grid.shape[1:3]
    )
    windows = np.lib.stride_tricks.sliding_window_view(grid, reach, axis=(1, 2))
    return np.asarray(windows[..., ::dilation, ::dilation])
