"""Build records for tests of evidence and rules, without Keras and without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossdoctor.engine import Diagnosis, diagnose_record
from lossdoctor.finding import Finding, Outcome
from lossdoctor.record.run import (
    CallbackRecord,
    DataRecord,
    FitRecord,
    History,
    LayerRecord,
    LossRecord,
    MetricRecord,
    ModelRecord,
    OptimizerRecord,
    OutputRecord,
    RunRecord,
    StepSeries,
    TargetPairing,
    UnitSeries,
    VariableSeries,
    WeightRecord,
)
from lossdoctor.record.summary import summarize
from lossdoctor.rules import rule_classes


def dense(
    name: str,
    units: int,
    inputs: int,
    *,
    activation: str = "linear",
    inbound: tuple[int, ...] = (),
    trainable: bool = True,
    std: float | None = None,
    **config: Any,
) -> LayerRecord:
    """A `Dense` layer as the snapshot records it."""
    std = (2.0 / (inputs + units)) ** 0.5 if std is None else std
    return LayerRecord(
        name=name,
        class_name="Dense",
        activation=activation,
        inbound=inbound,
        input_shape=(None, inputs),
        output_shape=(None, units),
        trainable=trainable,
        config={"units": units, "activation": activation, "use_bias": True, **config},
        weights=(
            WeightRecord(
                name="kernel",
                path=f"{name}/kernel",
                shape=(inputs, units),
                trainable=trainable,
                initializer="GlorotUniform",
                std=std,
                abs_max=std * 1.73,
            ),
            WeightRecord(
                name="bias",
                path=f"{name}/bias",
                shape=(units,),
                trainable=trainable,
                initializer="Zeros",
            ),
        ),
    )


def mlp(
    *,
    inputs: int = 20,
    hidden: Sequence[tuple[int, str]] = ((25, "relu"),),
    units: int = 1,
    activation: str | None = "linear",
    extra_layers: Sequence[LayerRecord] = (),
) -> ModelRecord:
    """A Sequential MLP; `hidden` holds (units, activation) pairs."""
    layers = [LayerRecord(name="input", class_name="InputLayer", output_shape=(None, inputs))]
    width = inputs
    for number, (size, act) in enumerate([*hidden, (units, activation or "linear")]):
        layers.append(
            dense(
                f"dense_{number}" if number else "dense",
                size,
                width,
                activation=act,
                inbound=(len(layers) - 1,),
            )
        )
        width = size
    softmax = units if activation == "softmax" else None
    output = OutputRecord(
        name=layers[-1].name,
        shape=(None, units),
        activation=activation,
        activation_source="config" if activation else "unknown",
        layer=len(layers) - 1,
        softmax_axis_size=softmax,
    )
    parameters = sum(int(np.prod(w.shape)) for layer in layers for w in layer.weights)
    return ModelRecord(
        name="sequential",
        class_name="Sequential",
        kind="sequential",
        graph_known=True,
        layers=(*layers, *extra_layers),
        inputs=(0,),
        outputs=(output,),
        parameters=parameters,
        trainable_parameters=parameters,
    )


def config_record(
    *,
    model: ModelRecord | None = None,
    loss: str | LossRecord = "mean_squared_error",
    metrics: Mapping[str, str] | None = None,
    optimizer: OptimizerRecord | None = None,
    fit: FitRecord | None = None,
    x: Any = None,
    y: Any = None,
    validation: tuple[Any, Any] | None = None,
    predictions: Any = None,
    baseline: float | None = None,
    **fields: Any,
) -> RunRecord:
    """A record as `check_config` makes it. `metrics` maps what was requested to the class."""
    model = model or mlp()
    if isinstance(loss, str):
        loss = LossRecord(name=loss, from_logits=False, baseline=baseline, floor=0.0)
    return RunRecord(
        source=fields.pop("source", "config"),
        model=model,
        losses=(loss,),
        metrics=tuple(
            MetricRecord(output=0, name=name, requested=name, class_name=cls)
            for name, cls in (metrics or {}).items()
        ),
        optimizer=optimizer or OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9),
        fit=fit or FitRecord(epochs=100, batch_size=32),
        train=_data(x, y, predictions),
        validation=_data(*validation) if validation else None,
        **fields,
    )


def _data(x: Any, y: Any, predictions: Any = None) -> DataRecord:
    def summaries(array: Any, name: str) -> tuple[Any, ...]:
        return () if array is None else (summarize(np.asarray(array), name=name),)

    first = x if x is not None else y
    rows = 0 if first is None else len(first)
    return DataRecord(
        inputs=summaries(x, "x"),
        targets=summaries(y, "y"),
        predictions=summaries(predictions, "y_pred"),
        rows=rows,
        batch_size=32,
        batches=-(-rows // 32),
    )


def history_record(*, learning_rate: Sequence[float] = (), **logs: Sequence[float]) -> RunRecord:
    """A record as `diagnose(history)` makes it: `history_record(loss=[...], val_loss=[...])`."""
    return RunRecord(source="history", history=history(learning_rate=learning_rate, **logs))


def history(*, learning_rate: Sequence[float] = (), **logs: Sequence[float]) -> History:
    """Per-epoch logs."""
    length = max((len(values) for values in logs.values()), default=0)
    return History(
        epochs=np.arange(length),
        logs={name: np.asarray(values, dtype=np.float64) for name, values in logs.items()},
        learning_rate=np.asarray(learning_rate, dtype=np.float64),
    )


def steps(loss: Sequence[float], *, steps_per_epoch: int = 16, **arrays: Any) -> StepSeries:
    """Every step of a run, healthy unless `arrays` say otherwise."""
    count = len(loss)
    yes, number = np.ones(count, dtype=bool), np.arange(count)
    return StepSeries(
        **{
            "step": number,
            "epoch": number // steps_per_epoch,
            "loss": np.asarray(loss, dtype=np.float64),
            "learning_rate": np.full(count, 0.01),
            "gradient_norm": np.ones(count),
            "inputs_finite": yes,
            "targets_finite": yes,
            "predictions_finite": yes,
            "gradients_finite": yes,
            "skipped": ~yes,
            "total_steps": count,
            **arrays,
        }
    )


def variables(model: ModelRecord, *, count: int = 64, **matrices: Any) -> VariableSeries:
    """Statistics of all trainable variables of `model`, healthy (gradient 1, update ratio 1e-3)
    unless `matrices` (broadcast to (count, V)) say otherwise."""
    found = [
        (w, layer.name, depth)
        for depth, layer in enumerate(layer for layer in model.layers if layer.weights)
        for w in layer.weights
        if w.trainable
    ]
    shape = (count, len(found))

    def matrix(name: str, default: float) -> Any:
        return np.broadcast_to(np.asarray(matrices.pop(name, default), dtype=float), shape).copy()

    return VariableSeries(
        **{
            "paths": tuple(w.path for w, _, _ in found),
            "layers": tuple(layer for _, layer, _ in found),
            "roles": tuple(w.name for w, _, _ in found),
            "sizes": tuple(int(np.prod(w.shape)) for w, _, _ in found),
            "depth": tuple(depth for _, _, depth in found),
            "connected": (True,) * len(found),
            "step": np.arange(count),
            "gradient_norm": matrix("gradient_norm", 1.0),
            "weight_norm": matrix("weight_norm", 1.0),
            "update_norm": matrix("update_norm", 1e-3),
            "gradient_zero_fraction": matrix("gradient_zero_fraction", 0.0),
            "curvature": np.full(count, 1.0),
            "curvature_norm": np.full(count, 1.0),
            **matrices,
        }
    )


def run_record(record: RunRecord, **fields: Any) -> RunRecord:
    """`record` as a recorded run, with `fields` (history=, steps=, variables=, ...) added."""
    return dataclasses.replace(record, source="run", **fields)


def diagnose_with(slug: str, record: RunRecord, **thresholds: float) -> Diagnosis:
    """Run the one rule `slug` on `record`."""
    return diagnose_record(record, rules=[rule_classes()[slug](**thresholds)])


def findings_of(slug: str, record: RunRecord, **thresholds: float) -> tuple[Finding, ...]:
    """What rule `slug` finds in `record`; fails the test if the rule itself failed."""
    diagnosis = diagnose_with(slug, record, **thresholds)
    assert diagnosis.outcomes[0].status != "failed", diagnosis.outcomes[0].reason
    return diagnosis.findings


def outcome_of(slug: str, record: RunRecord, **thresholds: float) -> Outcome:
    """What became of rule `slug` on `record`."""
    return diagnose_with(slug, record, **thresholds).outcomes[0]


def layer(
    name: str, class_name: str, *, activation: str | None = None, **config: Any
) -> LayerRecord:
    """A layer without weights, or of a class `chain` only needs to stand somewhere."""
    return LayerRecord(name=name, class_name=class_name, activation=activation, config=config)


def weighted(
    layer: LayerRecord, *shape: int, name: str = "kernel", std: float = 0.1
) -> LayerRecord:
    """`layer` with one more weight."""
    weight = WeightRecord(
        name=name,
        path=f"{layer.name}/{name}",
        shape=shape,
        trainable=True,
        std=std,
        abs_max=3 * std,
    )
    return dataclasses.replace(layer, weights=(*layer.weights, weight))


def chain(*layers: LayerRecord, inputs: int = 20, kind: Any = "sequential") -> ModelRecord:
    """A model whose layers each read the one before them; the last one with weights is the head."""
    first = LayerRecord(name="input", class_name="InputLayer", output_shape=(None, inputs))
    linked = [
        dataclasses.replace(item, inbound=(index,) if not item.inbound else item.inbound)
        for index, item in enumerate(layers)
    ]
    found = (first, *linked)
    head = max((i for i, item in enumerate(found) if item.weights), default=None)
    last = found[-1]
    parameters = sum(int(np.prod(w.shape)) for item in found for w in item.weights)
    trainable = sum(int(np.prod(w.shape)) for item in found for w in item.weights if w.trainable)
    return ModelRecord(
        name="chain",
        class_name="Sequential" if kind == "sequential" else "Functional",
        kind=kind,
        graph_known=True,
        layers=found,
        inputs=(0,),
        outputs=(
            OutputRecord(
                name=last.name,
                shape=last.output_shape or (None, 1),
                activation=last.activation,
                activation_source="config",
                layer=head,
            ),
        ),
        parameters=parameters,
        trainable_parameters=trainable,
    )


def learned(record: RunRecord, share: float) -> RunRecord:
    """`record` as a run that removed `share` of the errors of a constant answer."""
    assert record.train is not None
    pairing = TargetPairing(output=0, rows=100, error_rate=1 - share, chance_error_rate=1.0)
    return run_record(record, train=dataclasses.replace(record.train, pairing=(pairing,)))


def trained(
    loss: Sequence[float],
    *,
    ratio: float | Sequence[float] = 1e-3,
    baseline: float | None = 1.0,
    steps_per_epoch: int = 16,
    learning_rate: float = 0.01,
    optimizer: OptimizerRecord | None = None,
    model: ModelRecord | None = None,
    rows: int = 500,
    callbacks: Sequence[str] = (),
    error_rate: float | None = None,
    **logs: Sequence[float],
) -> RunRecord:
    """A recorded run whose batches all cost what their epoch's `loss` says.

    `ratio` is the update ratio of every kernel, one number or one per step. Logs such as
    `val_loss=` are per epoch; validation then has `rows` examples.
    """
    model = model or mlp()
    batch_losses = np.repeat(np.asarray(loss, dtype=float), steps_per_epoch)
    count = len(batch_losses)
    norms = [
        float(np.sqrt(np.prod(w.shape) * 2 / sum(w.shape))) if len(w.shape) > 1 else 1.0
        for layer in model.layers
        for w in layer.weights
    ]
    updates = np.broadcast_to(np.asarray(ratio, dtype=float), count)[:, None] * np.array(norms)
    record = config_record(
        model=model,
        loss=LossRecord(name="mean_squared_error", baseline=baseline, floor=0.0),
        optimizer=optimizer or OptimizerRecord(class_name="SGD", learning_rate=learning_rate),
        fit=FitRecord(
            epochs=len(loss),
            steps_per_epoch=steps_per_epoch,
            callbacks=tuple(CallbackRecord(class_name=name) for name in callbacks),
        ),
        x=np.ones((8, 20)),
        y=np.linspace(-1, 1, 8),
    )
    assert record.train is not None
    train = dataclasses.replace(record.train, rows=500)
    if error_rate is not None:
        pairing = TargetPairing(output=0, rows=8, error_rate=error_rate, chance_error_rate=0.5)
        train = dataclasses.replace(train, pairing=(pairing,))
    return run_record(
        record,
        train=train,
        history=history(loss=loss, **logs),
        steps=steps(
            batch_losses,
            steps_per_epoch=steps_per_epoch,
            learning_rate=np.full(count, learning_rate),
        ),
        variables=variables(
            model,
            count=count,
            weight_norm=norms,
            update_norm=updates,
            curvature=np.full(count, 0.3 / learning_rate if learning_rate else 1.0),
        ),
        validation=dataclasses.replace(record.train, rows=rows) if "val_loss" in logs else None,
    )


def unit_series(dead: Mapping[str, float | Sequence[float]], *, epochs: int = 10) -> UnitSeries:
    """Layers of 20 units; `dead` is the dead share of each, one number or one per epoch."""
    columns = [np.broadcast_to(np.asarray(share, dtype=float), epochs) for share in dead.values()]
    return UnitSeries(
        layers=tuple(dead),
        units=(20,) * len(dead),
        epoch=np.arange(epochs),
        dead_fraction=np.stack(columns, axis=1),
    )


def per_layer(model: ModelRecord, values: Sequence[float]) -> list[float]:
    """One number per trainable variable from one number per layer with weights."""
    weighted_layers = [layer for layer in model.layers if layer.weights]
    return [
        value
        for layer, value in zip(weighted_layers, values)
        for weight in layer.weights
        if weight.trainable
    ]


def with_weights(model: ModelRecord, role: str, **changes: Any) -> ModelRecord:
    """`model` with every weight called `role` changed, as in `mean=-10.0`."""
    layers = tuple(
        dataclasses.replace(
            layer,
            weights=tuple(
                dataclasses.replace(weight, **changes) if weight.name == role else weight
                for weight in layer.weights
            ),
        )
        for layer in model.layers
    )
    return dataclasses.replace(model, layers=layers)
