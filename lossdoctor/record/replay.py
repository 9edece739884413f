"""Run the batch of the first loss that was not finite once more, watching every layer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lossdoctor.record.lifetime import uninterrupted
from lossdoctor.record.measure import pack, untouched
from lossdoctor.record.mirror import BatchMirror, Mirror
from lossdoctor.record.snapshot import leaf_layers

Source = Literal["inputs", "targets", "sample_weight"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """What running the batch of `step` again showed.

    `source` is the part of the batch that was not finite itself, else `layer` the first layer whose
    output was not, for finite inputs; None where no layer could be told, as `detail` then says.
    """

    step: int
    source: Source | None = None
    layer: str | None = None
    detail: str = ""


def replay(
    model: keras.Model,
    batch: BatchMirror,
    kept: tuple[int, Sequence[NDArray[Any]]] | None,
    *,
    step: int,
) -> Replay:
    """Look at the batch of `step`, and run the model on it where it is finite itself.

    Args:
        model: The model; its state is left as it was.
        batch: The batch.
        kept: A step not after `step`, and the trainable weights before it; None where they were not
            kept.
        step: The step whose loss was not finite.
    """
    parts: dict[Source, Sequence[Mirror | None]] = {
        "inputs": batch.inputs,
        "targets": batch.targets,
        "sample_weight": [batch.weight],
    }
    for source, mirrors in parts.items():
        bad = _bad_examples([mirror.read() for mirror in mirrors if mirror is not None])
        if bad is not None and bad.any():
            detail = f"in {bad.sum():,} of its {len(bad):,} examples"
            return Replay(step=step, source=source, detail=detail)
    if not batch.complete:
        return Replay(step=step, detail="the inputs are not plain dense tensors: no layer is told")
    if kept is None or not all(np.isfinite(weight).all() for weight in kept[1]):
        return Replay(step=step, detail="no finite weights from before the step: no layer is told")
    inputs = [mirror.read() for mirror in batch.inputs if mirror is not None]
    watch = _Watch()
    with uninterrupted(), _state(model, kept[1]), watch.layers_of(model):
        outputs = model(pack(batch.structure, inputs), training=True)
    age = step - kept[0]
    found = [f"run again with the weights of {age:,} steps before"] if age else []
    if _finite(outputs):
        found.append("run again, its outputs are finite")
    elif watch.layer is None:
        found.append(watch.place)
    return Replay(step=step, layer=watch.layer, detail=", ".join(found))


def _bad_examples(arrays: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    rows = [
        ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        for array in arrays
        if array.dtype.kind == "f" and len(array)
    ]
    return np.any(rows, axis=0) if rows else None


@contextlib.contextmanager
def _state(model: keras.Model, weights: Sequence[NDArray[Any]]) -> Iterator[None]:
    """Give `model` these trainable weights for a while, and leave it as it was."""
    saved = [(variable, np.asarray(variable)) for variable in model.variables]
    try:
        for variable, weight in zip(model.trainable_variables, weights):
            variable.assign(weight)
        with untouched(model):
            yield
    finally:
        for variable, value in saved:
            variable.assign(value)


class _Watch:
    """Sees which of a model's layers first turns finite inputs into something else."""

    def __init__(self) -> None:
        self.layer: str | None = None
        self.place = ""
        """The layer, or in words where between two layers it happened; "" for nowhere yet."""
        self._last = "the inputs"

    @contextlib.contextmanager
    def layers_of(self, model: keras.Model) -> Iterator[None]:
        """Watch while `model` runs eagerly."""
        watched = _operations(model)
        saved = [operation.__dict__.get("call") for operation in watched]
        try:
            for operation in watched:
                operation.__dict__["call"] = self._watched(operation.name, operation.call)
            yield
        finally:
            for operation, call in zip(watched, saved):
                if call is None:
                    del operation.__dict__["call"]
                else:
                    operation.__dict__["call"] = call

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            given = _finite((args, kwargs))
            if not given and not self.place:
                self.place = f"between {self._last} and '{name}', in a `call` of the model's own"
            result = call(*args, **kwargs)
            finite = _finite(result)
            if given and not finite and not self.place:
                self.layer = self.place = name
            elif not given and finite:
                # Infinite on purpose, such as a mask before a softmax.
                self.layer, self.place = None, ""
            self._last = f"'{name}'"
            return result

        return watched


def _operations(model: keras.Model) -> list[Any]:
    """The layers of a model, and the bare operations of its functional graphs."""
    graphs = (getattr(part, "_functional", part) for part in model._flatten_layers())
    operations = (o for graph in graphs for o in getattr(graph, "operations", ()))
    bare = {id(o): o for o in operations if not isinstance(o, keras.layers.Layer)}
    return [*leaf_layers(model), *bare.values()]


def _finite(tensors: Any) -> bool:
    return all(
        bool(tf.reduce_all(tf.math.is_finite(tensor)))
        for tensor in keras.tree.flatten(tensors)
        if tf.is_tensor(tensor) and not tf.is_symbolic_tensor(tensor) and tensor.dtype.is_floating
    )
