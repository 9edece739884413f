"""Targets `(n,)` beside predictions `(n, 1)` in a step of the user's own, found in its graph."""

from __future__ import annotations

from typing import Any

import keras

_COMPARE = {"Sub", "SquaredDifference", "Mul", "RealDiv", "DivNoNan", "Equal"}
_PASS_ON = {"Cast", "Identity", "Neg", "Reshape", "Squeeze", "ExpandDims", "StridedSlice"}
_PASS_ON |= {"Sub", "Mul", "AddV2"}
_MOST_STEPS = 8


def compares_all_pairs(targets: Any, graph: Any) -> bool:
    """Whether the step that `graph` was traced from combines a vector computed from `targets` with
    a column, entry by entry: each target meets the prediction of every example.

    Args:
        targets: Tensors, nested.
        graph: A `tf.Graph`.
    """
    leaves = [leaf for leaf in keras.tree.flatten(targets) if leaf is not None]
    known = {leaf.ref() for leaf in leaves if leaf.shape.rank is not None and leaf.shape.rank < 2}
    return bool(known) and any(
        _is_table(known, *sorted(operation.inputs, key=lambda tensor: tensor.shape.rank or 0))
        for operation in graph.get_operations()
        if operation.type in _COMPARE
    )


def _is_table(known: set[Any], vector: Any, column: Any) -> bool:
    if (vector.shape.rank, column.shape.rank) != (1, 2):
        return False
    pairs = column.shape[1] == 1 != vector.shape[0]
    # Whoever compares the targets with one another means all pairs.
    return bool(pairs and _from(known, vector) and not _from(known, column))


def _from(known: set[Any], tensor: Any, steps: int = _MOST_STEPS) -> bool:
    """Whether `tensor` is one of the `known`, or computed from one in a few steps."""
    if tensor.ref() in known:
        return True
    passes = steps > 0 and tensor.op.type in _PASS_ON
    return passes and any(_from(known, x, steps - 1) for x in tensor.op.inputs)
