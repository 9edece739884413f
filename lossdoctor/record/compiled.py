"""Read what `model.compile` was given: losses, metrics, optimizer, and each loss's baseline."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from lossdoctor.record.own_loss import takes_logits
from lossdoctor.record.run import LossRecord, MetricRecord, OptimizerRecord, OutputRecord

BASELINE_ROWS = 1024
"""How many examples the baseline of a loss is computed on at most."""
_SCHEDULE_POINTS = 33
_DEFAULT_PLANNED_STEPS = 1000
_EPSILON = 1e-7
_OPTIMIZER_FIELDS = (
    "momentum",
    "nesterov",
    "beta_1",
    "beta_2",
    "epsilon",
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "gradient_accumulation_steps",
)


def snapshot_losses(model: keras.Model, outputs: Sequence[OutputRecord]) -> tuple[LossRecord, ...]:
    """The compiled loss of every output, in the order of the outputs; () without a loss."""
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return ()
    count = max(1, len(outputs))
    losses = _per_output(compiled._user_loss, outputs, count)
    weights = _per_output(compiled._user_loss_weights, outputs, count)
    return tuple(
        _loss_record(loss, weight, outputs[i] if i < len(outputs) else None)
        for i, (loss, weight) in enumerate(zip(losses, weights))
    )


def loss_functions(
    model: keras.Model, outputs: Sequence[OutputRecord]
) -> tuple[Callable[..., Any] | None, ...]:
    """For every output the compiled loss as `function(y_true, y_pred, sample_weight) -> scalar`."""
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return ()
    losses = _per_output(compiled._user_loss, outputs, max(1, len(outputs)))
    return tuple(_as_function(_resolve_loss(loss, at(outputs, i))) for i, loss in enumerate(losses))


def at(items: Sequence[Any], index: int) -> Any | None:
    """`items[index]`, or None past the end."""
    return items[index] if index < len(items) else None


def _per_output(spec: Any, outputs: Sequence[OutputRecord], count: int) -> list[Any]:
    if isinstance(spec, dict):
        return [spec.get(output.name) for output in outputs] if outputs else list(spec.values())
    if isinstance(spec, (list, tuple)):
        flat = list(keras.tree.flatten(spec))
        return (flat + [None] * count)[:count]
    return [spec] * count


def _resolve_loss(loss: Any, output: OutputRecord | None) -> Any:
    if str(loss).lower() in ("crossentropy", "ce"):
        # Keras chooses by the shapes of y and y_pred; the one-unit case is the only one that
        # does not need y.
        return keras.losses.get(
            "binary_crossentropy" if output and output.units == 1 else "categorical_crossentropy"
        )
    return keras.losses.get(loss) if isinstance(loss, (str, dict)) else loss


def _loss_record(identifier: Any, weight: Any, output: OutputRecord | None) -> LossRecord:
    loss = _resolve_loss(identifier, output)
    name, custom = _canonical_name(loss)
    config: dict[str, Any] = {}
    if isinstance(loss, keras.losses.Loss) and not custom:
        config = {
            key: value
            for key, value in loss.get_config().items()
            if isinstance(value, (bool, int, float, str))
        }
    knows_logits = "crossentropy" in name and not custom
    own = _as_function(loss) if custom else None
    return LossRecord(
        name=name,
        custom=custom,
        from_logits=bool(config.get("from_logits", False)) if knows_logits else None,
        with_logits=bool(own and output and takes_logits(own, output.shape)),
        label_smoothing=float(config.get("label_smoothing", 0.0)),
        weight=None if weight is None else float(weight),
        config=config,
        aligns_ranks=not isinstance(loss, keras.losses.Loss) or _aligns_ranks(loss),
    )


def _aligns_ranks(loss: keras.losses.Loss) -> bool:
    """Whether `loss` is one of Keras' own wrapped functions, which squeeze and expand `y`."""
    wrapper = keras.losses.MeanSquaredError.__base__
    return type(loss).call is wrapper.call or type(loss).__module__.startswith("keras.")


def _canonical_name(loss: Any) -> tuple[str, bool]:
    if loss is None:
        return "none", False
    if isinstance(loss, keras.losses.Loss):
        function = getattr(loss, "fn", None)
        if function is not None and type(loss).__name__ == "LossFunctionWrapper":
            return _canonical_name(function)
        return snake_case(type(loss).__name__), not type(loss).__module__.startswith("keras.")
    if isinstance(loss, functools.partial):
        return _canonical_name(loss.func)[0], True
    module = str(getattr(loss, "__module__", ""))
    return str(getattr(loss, "__name__", type(loss).__name__)), not module.startswith("keras.")


def snake_case(name: str) -> str:
    """`"CategoricalCrossentropy"` -> `"categorical_crossentropy"`, `"KLDivergence"` ->
    `"kl_divergence"`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _as_function(loss: Any) -> Callable[..., Any] | None:
    if loss is None:
        return None
    if isinstance(loss, keras.losses.Loss):
        return lambda y, p, w=None: loss(y, p, sample_weight=w)
    # The class Keras itself wraps functions in: it aligns the ranks of y_true and y_pred.
    wrapper = keras.losses.MeanSquaredError.__base__
    wrapped = wrapper(loss, name="loss")
    return lambda y, p, w=None: wrapped(y, p, sample_weight=w)


def constant_baseline(
    loss: Callable[..., Any],
    targets: NDArray[Any],
    output: OutputRecord,
    from_logits: bool,
    sample_weight: NDArray[Any] | None = None,
) -> tuple[float, tuple[float, ...]] | None:
    """The lowest value of `loss` any constant prediction of this head reaches, and that constant.

    The constant is sought numerically in the head's own output space (a softmax head answers
    distributions, a tanh head values in (-1, 1)): first the mean, median, extremes and zero of the
    targets, then L-BFGS from the best of them with gradients by automatic differentiation.

    Args:
        loss: `loss(y_true, y_pred, sample_weight) -> scalar`.
        targets: Shape `(rows, ...)`; at most `BASELINE_ROWS` rows are used.
        output: The head whose constants are tried.
        from_logits: Whether the loss reads logits.
        sample_weight: Shape `(rows,)` or None.

    Returns:
        `(value, constant per unit)`, or None where the loss gives no finite value.
    """
    import tensorflow as tf

    rows = targets[:BASELINE_ROWS]
    if rows.dtype.kind not in "biuf" or not len(rows) or output.units is None:
        return None
    finite = np.isfinite(rows.reshape(len(rows), -1).astype(np.float64)).all(axis=1)
    rows = rows[finite]
    if not len(rows):
        return None
    weights = None if sample_weight is None else sample_weight[:BASELINE_ROWS][finite]
    squash, unsquash = _link(output.activation, from_logits)
    shape = prediction_shape(rows, output)
    y_true = tf.convert_to_tensor(rows)

    def value_and_gradient(z: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        variable = tf.constant(z, dtype=tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            # Squashed after broadcasting: Keras' losses find the logits behind a float32 head.
            value = loss(y_true, squash(tf.broadcast_to(variable, shape)), weights)
        gradient = tape.gradient(value, variable)
        slope = np.zeros_like(z) if gradient is None else np.asarray(gradient, dtype=np.float64)
        number = float(value)
        if not np.isfinite(number):
            return 1e30, np.zeros_like(z)
        return number, np.nan_to_num(slope)

    starts = [unsquash(c) for c in _candidates(rows, output.units)]
    best = min(starts, key=lambda z: value_and_gradient(z)[0])
    start_value = value_and_gradient(best)[0]
    if start_value >= 1e30:
        return None
    found = scipy.optimize.minimize(
        value_and_gradient, best, jac=True, method="L-BFGS-B", options={"maxiter": 25}
    )
    if found.fun < start_value:
        best, start_value = found.x, float(found.fun)
    constant = np.asarray(squash(tf.constant(best, dtype=tf.float32)))
    return start_value, tuple(float(c) for c in constant[:64])


def loss_floor(
    loss: Callable[..., Any], targets: NDArray[Any], output: OutputRecord, record: LossRecord
) -> float | None:
    """The value of `loss` for predictions equal to the targets: what cannot be learned away."""
    rows = targets[:BASELINE_ROWS]
    if rows.dtype.kind not in "biuf" or not len(rows):
        return None
    if record.name.startswith("sparse_"):
        return 0.0
    perfect = rows.astype(np.float32)
    if record.name.endswith("hinge") and np.isin(rows, (0, 1)).all():
        perfect = 2 * perfect - 1
    if record.from_logits:
        clipped = np.clip(perfect, _EPSILON, 1 - _EPSILON)
        binary = record.name.startswith("binary")
        perfect = np.log(clipped / (1 - clipped)) if binary else np.log(clipped)
    value = float(loss(rows, perfect.reshape(prediction_shape(rows, output))))
    return value if np.isfinite(value) else None


def prediction_shape(rows: NDArray[Any], output: OutputRecord) -> tuple[int, ...]:
    """The shape of predictions of `output` for `rows` of targets."""
    inner = output.shape[1:-1] if len(output.shape) > 2 else ()
    known = [n if n is not None else rows.shape[1 + i] for i, n in enumerate(inner)]
    last = () if len(output.shape) == 1 else (int(output.units or 1),)
    return (len(rows), *(int(n) for n in known), *last)


def _candidates(rows: NDArray[Any], units: int) -> list[NDArray[Any]]:
    values = rows.astype(np.float64)
    if values.ndim > 1 and values.shape[-1] == units:
        columns = values.reshape(-1, units)
    elif units == 1:
        columns = values.reshape(-1, 1)
    else:
        ids = values.reshape(-1).astype(np.int64)
        inside = (ids >= 0) & (ids < units)
        share = np.bincount(ids[inside], minlength=units) / max(1, inside.sum())
        return [share, np.full(units, 1.0 / units)]
    return [
        columns.mean(axis=0),
        np.median(columns, axis=0),
        columns.min(axis=0),
        columns.max(axis=0),
        np.zeros(units),
    ]


def _link(
    activation: str | None, from_logits: bool
) -> tuple[Callable[[Any], Any], Callable[[NDArray[Any]], NDArray[Any]]]:
    """The head's link function and its inverse on clipped constants."""
    if from_logits:
        return (lambda z: z), lambda c: np.log(np.clip(c, _EPSILON, None))
    if activation == "softmax":
        return keras.activations.softmax, lambda c: np.log(np.clip(c, _EPSILON, None))
    if activation == "sigmoid":
        return keras.activations.sigmoid, _logit
    if activation == "tanh":
        return keras.ops.tanh, lambda c: np.arctanh(np.clip(c, -1 + 1e-6, 1 - 1e-6))
    if activation in ("relu", "softplus", "exponential"):
        # Softplus reaches the same constants as relu and keeps a gradient at zero.
        return keras.ops.softplus, lambda c: np.log(np.expm1(np.clip(c, _EPSILON, 80.0)))
    return (lambda z: z), lambda c: c


def _logit(c: NDArray[Any]) -> NDArray[Any]:
    clipped = np.clip(c, _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(clipped / (1 - clipped)))


def snapshot_metrics(
    model: keras.Model,
    outputs: Sequence[OutputRecord],
    target_shapes: Sequence[tuple[int | None, ...] | None],
) -> tuple[MetricRecord, ...]:
    """Every compiled metric, with the class Keras resolves `"accuracy"` to for these shapes."""
    compiled = getattr(model, "_compile_metrics", None)
    if compiled is None:
        return ()
    found = []
    for spec in (compiled._user_metrics, compiled._user_weighted_metrics):
        for index, metrics in enumerate(_metrics_per_output(spec, outputs)):
            shape = at(target_shapes, index)
            for metric in metrics:
                found.append(_metric_record(index, metric, at(outputs, index), shape))
    return tuple(found)


def _metrics_per_output(spec: Any, outputs: Sequence[OutputRecord]) -> list[list[Any]]:
    if spec is None:
        return []
    if isinstance(spec, dict):
        return [_as_list(spec.get(output.name)) for output in outputs]
    if isinstance(spec, (list, tuple)) and len(outputs) > 1:
        if any(isinstance(item, (list, tuple)) for item in spec):
            return [_as_list(item) for item in spec]
        return [list(spec) for _ in outputs]
    return [_as_list(spec)]


def _as_list(item: Any) -> list[Any]:
    if item is None:
        return []
    return list(keras.tree.flatten(item)) if isinstance(item, (list, tuple)) else [item]


def _metric_record(
    index: int, metric: Any, output: OutputRecord | None, shape: tuple[int | None, ...] | None
) -> MetricRecord:
    if isinstance(metric, str):
        requested, class_name = metric, _metric_class(metric, output, shape)
    elif isinstance(metric, keras.metrics.Metric):
        requested, class_name = metric.name, type(metric).__name__
    else:
        requested = str(getattr(metric, "__name__", type(metric).__name__))
        class_name = _camel_case(requested)
    own = not isinstance(metric, str) and not str(
        getattr(metric, "__module__", type(metric).__module__)
    ).startswith("keras.")
    return MetricRecord(
        output=index,
        name=requested,
        requested=requested,
        class_name=class_name,
        aligns_ranks=not own or isinstance(metric, keras.metrics.Metric),
    )


def _metric_class(
    name: str, output: OutputRecord | None, shape: tuple[int | None, ...] | None
) -> str | None:
    if name.lower() in ("accuracy", "acc"):
        if output is None or output.units is None:
            return None
        if output.units == 1:
            return "BinaryAccuracy"
        if shape is None:
            return None
        fewer = len(shape) < len(output.shape)
        column = bool(shape) and shape[-1] == 1
        return "SparseCategoricalAccuracy" if fewer or column else "CategoricalAccuracy"
    try:
        metric = keras.metrics.get(name)
    except ValueError:
        return None
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).__name__
    return _camel_case(str(getattr(metric, "__name__", name)))


def _camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def snapshot_optimizer(optimizer: Any, planned_steps: int | None = None) -> OptimizerRecord | None:
    """The optimizer's settings; a learning-rate schedule is sampled over `planned_steps`."""
    if optimizer is None:
        return None
    scaling = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaling else optimizer
    config: dict[str, Any] = {
        key: value
        for key, value in _config(inner).items()
        if isinstance(value, (bool, int, float, str))
    }
    config["_defaults"] = _default_config(type(inner))
    schedule: Any = getattr(inner, "_learning_rate", None)
    scheduled = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    iterations = int(np.asarray(inner.iterations))
    return OptimizerRecord(
        class_name=type(inner).__name__,
        learning_rate=float(np.asarray(inner.learning_rate)),
        schedule=type(schedule).__name__ if scheduled else None,
        schedule_values=_schedule_values(schedule, iterations, planned_steps) if scheduled else (),
        loss_scaling=scaling,
        iterations=iterations,
        config=config,
        **{name: config[name] for name in _OPTIMIZER_FIELDS if name in config},
    )


def _config(optimizer: Any) -> dict[str, Any]:
    try:
        return dict(optimizer.get_config())
    except (NotImplementedError, TypeError, AttributeError, ValueError):
        return {}


def _default_config(cls: Any) -> dict[str, Any]:
    try:
        config = cls().get_config()
    except Exception:  # a user's optimizer may need arguments
        return {}
    return {k: v for k, v in config.items() if isinstance(v, (bool, int, float, str))}


def _schedule_values(
    schedule: Callable[[Any], Any], first: int, planned_steps: int | None
) -> tuple[float, ...]:
    steps = planned_steps or _DEFAULT_PLANNED_STEPS
    points = np.linspace(first, first + steps - 1, min(_SCHEDULE_POINTS, steps)).astype(int)
    return tuple(float(np.asarray(schedule(np.int64(step)))) for step in points)
