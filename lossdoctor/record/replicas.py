"""The step on several replicas (`tf.distribute`): what is recorded is that of the global batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def replicas() -> int:
    """How many replicas the running step is split over; 1 without a strategy."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def replica() -> int:
    """The number of the replica whose step is running; 0 without a strategy."""
    if replicas() == 1:
        return 0
    context = tf.distribute.get_replica_context()
    return int(tf.get_static_value(context.replica_id_in_sync_group))


def own_copy(variable: Any) -> Any:
    """The copy of `variable` on the running replica; outside a step that on the first one."""
    return getattr(variable, "values", (variable,))[replica()]


def summed(tensors: Sequence[Any]) -> list[Any]:
    """The sums of `tensors` over all replicas; None stays None."""
    if replicas() == 1:
        return list(tensors)
    context = tf.distribute.get_replica_context()
    given = [tf.convert_to_tensor(tensor) for tensor in tensors if tensor is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given))
    return [None if tensor is None else next(sums) for tensor in tensors]
