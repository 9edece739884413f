"""Targets `(n,)` beside predictions `(n, 1)` in a step of the user's own, found in its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

_COMPARE = {"Sub", "SquaredDifference", "Mul", "RealDiv", "DivNoNan", "Equal"}
_PASS_ON = {"Cast", "Identity", "Neg", "Reshape", "Squeeze", "Sub", "Mul", "AddV2"}


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
        _is_table(operation.inputs) and any(_from(known, x) for x in operation.inputs)
        for operation in graph.get_operations()
        if operation.type in _COMPARE
    )


def _is_table(pair: Sequence[Any]) -> bool:
    vector, column = sorted(pair, key=lambda tensor: tensor.shape.rank or 0)
    ranks = (vector.shape.rank, column.shape.rank)
    return ranks == (1, 2) and bool(column.shape[1] == 1 != vector.shape[0])


def _from(known: set[Any], tensor: Any) -> bool:
    """Whether `tensor` is one of the `known`, or computed from one, still a vector."""
    if tensor.shape.rank != 1:
        return False
    operation = tensor.op
    return tensor.ref() in known or (
        operation.type in _PASS_ON and any(_from(known, x) for x in operation.inputs)
    )
