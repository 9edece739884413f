"""Record a configuration before training: the compiled model and the data `fit` will get."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.arrays import (
    CHUNK_ROWS,
    batches_of,
    column_names,
    is_dataset,
    is_list_of_numbers,
    kind_of_data,
    to_array,
    to_arrays,
)
from lossdoctor.record.assemble import noting, versions
from lossdoctor.record.compiled import snapshot_losses, snapshot_metrics, snapshot_optimizer
from lossdoctor.record.head import traced_head
from lossdoctor.record.measure import (
    measure_predictions,
    same_random_state,
    with_baselines,
    with_gaps,
)
from lossdoctor.record.probes import probe_data
from lossdoctor.record.rehearsal import (
    Batch,
    array_batches,
    as_fed,
    rehearse_training,
    room_for,
)
from lossdoctor.record.run import (
    DataRecord,
    FitRecord,
    LossRecord,
    ModelRecord,
    OutputRecord,
    RunRecord,
)
from lossdoctor.record.snapshot import snapshot_model
from lossdoctor.record.stream import DataStream

DEFAULT_BATCH_SIZE = 32


def record_configuration(
    model: keras.Model,
    y: Any,
    *,
    x: Any,
    validation_data: Any,
    validation_split: float,
    shuffle: bool,
    batch_size: int | None,
    epochs: int | None,
    class_weight: Any,
    sample_weight: Any,
    rehearse: bool,
) -> RunRecord:
    """See `lossdoctor.check_config`, which documents the arguments and the errors."""
    missing: dict[str, str] = {}
    data = _read_data(y, x, validation_data, validation_split, sample_weight, class_weight)
    train, validation = data.train, data.validation
    rows = [sample for sample in train.sampled_inputs if sample is not None]
    built = _built(model, rows, missing)
    structure = snapshot_model(built)
    outputs = structure.outputs
    if not outputs and rows and built.built:
        with noting(missing, "the model's head"):
            outputs = _traced_outputs(built, rows)
    structure = dataclasses.replace(structure, outputs=tuple(outputs))
    losses = snapshot_losses(model, outputs)
    record = dataclasses.replace(_side(train, batch_size, data.head_tail), lists=data.lists)
    with noting(missing, "baselines"):
        losses = with_baselines(model, losses, outputs, train, record.batch_size)
    if rows and built.built:
        with noting(missing, "initial predictions"):
            predictions = measure_predictions(built, train, None, outputs, ())
            record = dataclasses.replace(record, initial_predictions=predictions.summaries)
    probes: dict[str, float] = {}
    with noting(missing, "data probes"):
        held_out = [] if validation is None else validation.sampled_targets
        probes = probe_data(
            train.sampled_inputs,
            with_gaps(train.sampled_targets, losses),
            validation_inputs=[] if validation is None else validation.sampled_inputs,
            validation_targets=with_gaps(held_out, losses),
            rows=train.rows,
        )
    steps = -(-train.rows // (record.batch_size or DEFAULT_BATCH_SIZE)) if train.rows else None
    planned = steps * epochs if steps and epochs else None
    optimizer = snapshot_optimizer(model.optimizer, planned)
    rehearsal = None
    if not rehearse:
        missing["the rehearsal"] = "switched off by rehearse=False"
    elif rows and built.built:
        with noting(missing, "the rehearsal"):
            size = batch_size or DEFAULT_BATCH_SIZE
            batches = data.first_batches(size, shuffle, planned, class_weight)
            reference = _reference(structure, losses, class_weight)
            rehearsal = rehearse_training(built, model, batches, optimizer, **reference)
    shapes = [(None, *t.shape) for t in record.targets]
    return RunRecord(
        source="config",
        versions=versions(),
        model=structure,
        losses=losses,
        metrics=snapshot_metrics(model, outputs, shapes),
        optimizer=optimizer,
        fit=FitRecord(
            epochs=epochs,
            steps_per_epoch=steps,
            batch_size=record.batch_size,
            shuffle=shuffle,
            validation_split=validation_split or None,
            has_validation=validation is not None,
            class_weight=class_weight is not None,
            sample_weight=sample_weight is not None,
            data=kind_of_data(y if x is None else x),
            run_eagerly=bool(model.run_eagerly),
            jit_compile=bool(model.jit_compile),
            steps_per_execution=int(model.steps_per_execution),
            dtype_policy=model.dtype_policy.name,
        ),
        train=record,
        validation=None if validation is None else _side(validation, batch_size, None),
        rehearsal=rehearsal,
        probes=probes,
        not_recorded=missing,
    )


@dataclass
class _Data:
    """What `fit` will get, read once."""

    train: DataStream
    validation: DataStream | None = None
    head_tail: Any = None
    x: Any = None
    """Arrays in the structure the user gave them in; None for a dataset."""
    y: Any = None
    weights: NDArray[Any] | None = None
    batches: list[Batch] = field(default_factory=list)
    """The first batches of a dataset."""
    lists: tuple[str, ...] = ()
    """Arguments that came as a Python list of numbers or rows."""

    def first_batches(
        self, batch_size: int, shuffle: bool, planned_steps: int | None, class_weight: Any
    ) -> list[Batch]:
        """The first batches the training will see."""
        batches = self.batches
        if not batches:
            return array_batches(
                self.x,
                self.y,
                self.weights,
                batch_size=batch_size,
                shuffle=shuffle,
                planned_steps=planned_steps,
            )[:planned_steps]
        if class_weight is not None:
            batches = [(x, y, _weights_of_classes(y, class_weight)) for x, y, _ in batches]
        return batches[:planned_steps]


def _weights_of_classes(y: NDArray[Any], class_weight: dict[int, float]) -> NDArray[Any]:
    """The weight of each example; Keras counts a class it has no weight for as 1."""
    column = y if y.ndim == 1 else y[:, 0] if y.shape[-1] == 1 else y.argmax(axis=-1)
    classes, numbers = np.unique(np.round(column), return_inverse=True)
    weights = np.array([class_weight.get(int(c), 1.0) for c in classes])
    return as_fed(weights[numbers.reshape(column.shape)])


def _one_class_each(targets: Sequence[NDArray[Any]]) -> bool:
    """Whether Keras can look up a class weight for each example."""
    return len(targets) == 1 and targets[0].ndim <= 2 and targets[0].dtype.kind in "biuf"


def _reference(
    structure: ModelRecord, losses: Sequence[LossRecord], class_weight: Any
) -> dict[str, Any]:
    """The loss of the best constant and of perfect predictions, all outputs together."""

    def total(values: Sequence[float | None]) -> float | None:
        if not values or any(value is None for value in values):
            return None
        weights = [1.0 if loss.weight is None else loss.weight for loss in losses]
        return sum(weight * (value or 0.0) for weight, value in zip(weights, values))

    baseline = total([loss.baseline for loss in losses])
    if class_weight is not None or structure.custom_compute_loss:
        baseline = None
    return {"baseline": baseline, "floor": total([loss.floor for loss in losses]) or 0.0}


def _side(stream: DataStream, batch_size: int | None, head_tail: Any) -> DataRecord:
    record = stream.record(row_order_known=True)
    size = batch_size or DEFAULT_BATCH_SIZE
    if not stream.from_arrays:
        return dataclasses.replace(record, head_tail_classes=head_tail)
    return dataclasses.replace(
        record,
        batch_size=min(size, stream.rows),
        batches=-(-stream.rows // size),
        last_batch_size=stream.rows % size or min(size, stream.rows),
        single_class_batches=None,
        batch_correlation=None,
        head_tail_classes=head_tail,
    )


def _read_data(
    y: Any,
    x: Any,
    validation_data: Any,
    validation_split: float,
    sample_weight: Any,
    class_weight: Any,
) -> _Data:
    dataset = next((d for d in (x, y) if d is not None and is_dataset(d)), None)
    if dataset is not None:
        batches: list[Batch] = []
        train = _stream_dataset(dataset, batches)
        validation = None if validation_data is None else _validation(validation_data)
        return _Data(train, validation, batches=batches)
    if y is None:
        raise ValueError(
            "`y` is missing: check_config(model, y) needs the targets `fit` will get, or a dataset "
            "that yields (x, y) batches. For an autoencoder pass the inputs: "
            "check_config(model, X, x=X)."
        )
    targets = to_arrays(y, "y")
    inputs = [] if x is None else to_arrays(x, "x")
    weights = None if sample_weight is None else to_array(sample_weight, "sample_weight")
    _same_length({"x": inputs, "y": targets, "sample_weight": [] if weights is None else [weights]})
    if isinstance(class_weight, dict) and _one_class_each(targets):
        of_classes = _weights_of_classes(targets[0], class_weight)
        weights = of_classes if weights is None else weights * of_classes
    head_tail = _head_tail(targets)
    validation = None
    if validation_split and validation_data is None:
        count = len(targets[0])
        cut = int(np.floor(count * (1 - validation_split)))
        if not 0 < cut < count:
            raise ValueError(
                f"`validation_split={validation_split}` leaves {cut} of {count} examples for "
                "training. Pass a share that leaves examples on both sides."
            )
        # Keras takes the tail, before any shuffling.
        validation = _stream_arrays([a[cut:] for a in inputs], [a[cut:] for a in targets], None)
        inputs, targets = [a[:cut] for a in inputs], [a[:cut] for a in targets]
        weights = None if weights is None else weights[:cut]
    elif validation_data is not None:
        validation = _validation(validation_data)
    train = _stream_arrays(inputs, targets, weights, column_names(x))
    return _Data(
        train,
        validation,
        head_tail,
        x=_packed(x, inputs),
        y=_packed(y, targets),
        weights=weights,
        lists=tuple(name for name, data in (("x", x), ("y", y)) if is_list_of_numbers(data)),
    )


def _packed(given: Any, arrays: list[NDArray[Any]]) -> Any:
    """Arrays read from `given`, in its structure."""
    if isinstance(given, dict):
        return dict(zip(sorted(given), arrays))
    return arrays[0] if len(arrays) == 1 else arrays


def _same_length(groups: dict[str, list[NDArray[Any]]]) -> None:
    lengths = {name: len(arrays[0]) for name, arrays in groups.items() if arrays}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"`{name}` has {count}" for name, count in lengths.items())
        raise ValueError(
            f"The arguments differ in their number of examples: {shown}. Every example needs one "
            "row in each; check the split or the reshape that produced them."
        )


def _validation(data: Any) -> DataStream:
    if is_dataset(data):
        return _stream_dataset(data, [])
    if not isinstance(data, (tuple, list)) or len(data) < 2:
        raise ValueError(
            "`validation_data` must be a tuple (x_val, y_val), (x_val, y_val, sample_weight) or a "
            f"dataset. Received an object of type {type(data).__name__}."
        )
    inputs = to_arrays(data[0], "validation_data[0]")
    targets = to_arrays(data[1], "validation_data[1]")
    _same_length({"validation x": inputs, "validation y": targets})
    return _stream_arrays(inputs, targets, None)


def _stream_arrays(
    inputs: Sequence[NDArray[Any]],
    targets: Sequence[NDArray[Any]],
    weight: NDArray[Any] | None,
    feature_names: tuple[str, ...] = (),
) -> DataStream:
    stream = DataStream(seed=0, from_arrays=True, feature_names=feature_names)
    for start in range(0, len(targets[0]), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        stream.update(
            [a[part] for a in inputs],
            [a[part] for a in targets],
            None if weight is None else weight[part],
        )
    return stream


def _stream_dataset(dataset: Any, first: list[Batch]) -> DataStream:
    """Read a dataset; its first batches are put into `first`, as many as a rehearsal can use."""
    stream = DataStream(seed=0)
    for inputs, targets, weight in batches_of(dataset):
        stream.update(inputs, targets, weight)
        if len(first) < room_for([*inputs, *targets]):
            x, y = [as_fed(a) for a in inputs], [as_fed(a) for a in targets]
            first.append(
                (_packed(None, x), _packed(None, y), None if weight is None else as_fed(weight))
            )
    if not stream.batches:
        raise ValueError("the dataset yields no batches; check its length and its filters.")
    return stream


def _head_tail(targets: Sequence[NDArray[Any]]) -> tuple[tuple[float, ...], ...] | None:
    """The classes in the first and in the last fifth of y, where y looks like classes."""
    if len(targets) != 1 or len(targets[0]) < 20:
        return None
    y = targets[0]
    if y.dtype.kind not in "biuf":
        return None
    ids = y.reshape(len(y), -1)
    ids = ids.argmax(axis=1) if ids.shape[1] > 1 else ids[:, 0]
    if y.dtype.kind == "f" and not np.all(ids == np.round(ids)):
        return None
    if len(np.unique(ids)) > max(2, min(100, len(y) // 5)):
        return None
    fifth = len(y) // 5
    return tuple(tuple(float(c) for c in np.unique(part)) for part in (ids[:fifth], ids[-fifth:]))


def _built(
    model: keras.Model, rows: Sequence[NDArray[Any]], missing: dict[str, str]
) -> keras.Model:
    """`model` if it is built, else a built copy of a Sequential. A subclassed model cannot be
    copied; it is built by calling it on one example, as `fit` would."""
    if model.built and (not isinstance(model, keras.Sequential) or model._functional is not None):
        return model
    if not rows:
        missing["the model's layers"] = "the model is not built; pass x= or give it an Input layer"
        return model
    with noting(missing, "the model's layers"), same_random_state():
        sequential = isinstance(model, keras.Sequential)
        copied = keras.models.clone_model(model) if sequential else model
        first = [keras.ops.convert_to_tensor(a[:1]) for a in rows]
        copied(first[0] if len(first) == 1 else list(first), training=False)
        return copied
    return model


def _traced_outputs(model: keras.Model, rows: Sequence[NDArray[Any]]) -> tuple[OutputRecord, ...]:
    """The heads of a subclassed model, from tracing its call."""
    import tensorflow as tf

    specs = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in rows]
    call = tf.function(
        lambda *inputs: model(inputs[0] if len(inputs) == 1 else list(inputs), training=False),
        autograph=False,
    )
    with same_random_state():
        graph = call.get_concrete_function(*specs).graph
    leaves = keras.tree.flatten(graph.structured_outputs)
    found = []
    for number, leaf in enumerate(leaves):
        activation, inner, axis_size = traced_head(leaf)
        found.append(
            OutputRecord(
                name=f"output_{number}" if len(leaves) > 1 else "output",
                shape=tuple(leaf.shape),
                activation=activation,
                inner_activation=inner,
                activation_source="unknown" if activation is None else "graph",
                softmax_axis_size=axis_size,
            )
        )
    return tuple(found)
