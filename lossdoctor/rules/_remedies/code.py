"""Write the code of a remedy for the model at hand.

Every snippet runs as it stands where `model`, `X`, `y` (and `X_val`, `y_val`) are the user's own:
`lossdoctor validate` executes it on the freshly built broken model and trains again. Where `fit`
was given a `tf.data.Dataset`, this is `train_ds` (and that for validation `val_ds`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.record.run import OptimizerRecord

_OPTIMIZER_ARGUMENTS = (
    "momentum",
    "nesterov",
    "beta_1",
    "beta_2",
    "epsilon",
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "rho",
    "amsgrad",
    "centered",
)

_ARRAYS = re.compile(r"^[^#\n]*\b[Xy](_val)?\b", re.MULTILINE)
SCHEDULER = "LearningRateScheduler"
_CHANGED_LAYER = """\
lambda layer: type(layer).from_config(
        {**layer.get_config(), **changes.get(layer.name, {})}
    )"""
# Keras makes no Python function anew from a configuration.
_CHANGED_BUT_LAMBDA = """\
lambda layer: layer
    if isinstance(layer, keras.layers.Lambda)
    else type(layer).from_config(
        {**layer.get_config(), **changes.get(layer.name, {})}
    )"""
# A wrapper (Bidirectional, TimeDistributed) keeps its layer's settings one level down.
_CHANGED = """\
def changed(layer):
    config = layer.get_config()
    own = config["layer"]["config"] if "layer" in config else config
    own.update(changes.get(layer.name, {}))
    return type(layer).from_config(config)

"""


def optimizer_code(optimizer: OptimizerRecord | None, **changes: Any) -> str:
    """`keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)` with `changes` applied.

    A change may be a string of code wrapped by `Code`.
    """
    class_name = optimizer.class_name if optimizer else "Adam"
    arguments: dict[str, Any] = {}
    if optimizer:
        # Defaults of the class would only clutter the line the user is to copy.
        defaults = optimizer.config.get("_defaults", {})
        arguments["learning_rate"] = optimizer.learning_rate
        for name in _OPTIMIZER_ARGUMENTS:
            value = optimizer.config.get(name)
            if value is not None and value != defaults.get(name):
                arguments[name] = value
    arguments |= changes
    shown = ", ".join(f"{k}={_literal(v)}" for k, v in arguments.items() if v is not None)
    return f"keras.optimizers.{class_name}({shown})"


def without_callback(name: str) -> str:
    """Code that takes the callbacks of one class out of the list."""
    return (
        "callbacks = [\n    callback\n    for callback in callbacks\n"
        f"    if not isinstance(callback, keras.callbacks.{name})\n]"
    )


def say_what_arrays(remedy: Remedy, data: str) -> Remedy:
    """Say in the code which arrays are meant, where `fit` was given none."""
    if data == "arrays" or "train_ds" in remedy.code or not _ARRAYS.search(remedy.code):
        return remedy
    return replace(remedy, code=f"# X, y: the arrays that the {data} is made from\n{remedy.code}")


class Code(str):
    """A value that is code already and must not be quoted."""


def compile_code(
    setup: Setup,
    *,
    loss: str | Code | list[str | Code] | None = None,
    metrics: list[str] | None = None,
    optimizer: str | None = None,
    **optimizer_changes: Any,
) -> str:
    """A `model.compile(...)` line that keeps everything but what is to change."""
    shown_loss = loss if loss is not None else _loss_code(setup)
    if metrics is None:
        metrics = list(dict.fromkeys(m.requested for m in setup.metrics))
    parts = [
        f"optimizer={optimizer or optimizer_code(setup.optimizer, **optimizer_changes)}",
        f"loss={_literal(shown_loss)}",
    ]
    if metrics:
        parts.append(f"metrics={_literal(metrics)}")
    return "model.compile(" + ", ".join(parts) + ")"


def rebuild_code(
    setup: Setup, changes: Mapping[str, Mapping[str, Any]], *, compile_line: str | None = None
) -> str:
    """Code that rebuilds the model with some layers' settings changed, and compiles it.

    Args:
        setup: The run's configuration.
        changes: By layer name, the settings to change: `{"dense_1": {"activation": "softmax"}}`.
        compile_line: The `model.compile(...)` line; by default the present one.
    """
    table = "".join(_row(setup, name, new) for name, new in changes.items())
    wrapped = any("wrapper" in x.config and x.name in changes for x in setup.model.layers)
    define, function = (_CHANGED, "changed") if wrapped else ("", _CHANGED_LAYER)
    if not wrapped and any(layer.class_name == "Lambda" for layer in setup.model.layers):
        function = _CHANGED_BUT_LAMBDA
    return f"changes = {{\n{table}}}\n{define}" + clone_code(setup, function, compile_line)


def clone_code(setup: Setup, function: str, compile_line: str | None = None) -> str:
    """Code that clones the model layer by layer with `function`, and compiles it."""
    keep, line = "", compile_line or compile_code(setup)
    if any(loss.custom for loss in setup.losses):
        # `clone_model` of a compiled model looks for the user's own loss by its name and raises.
        keep = "loss = model.loss\nmodel.compiled = False\n"
        line = line.replace("loss=model.loss", "loss=loss")
    return (
        f"{keep}model = keras.models.clone_model(\n"
        "    model,\n"
        f"    clone_function={function},\n"
        f")\n{line}"
    )


def _row(setup: Setup, name: str, new: Mapping[str, Any]) -> str:
    key = name_code(setup, name)
    comment = "" if name in key else f"  # {name}"
    return f"    {key}: {_literal(dict(new))},{comment}\n"


def layer_code(setup: Setup, name: str) -> str:
    """`model.layers[2]`: built once more, a model has other automatic names, but its layers at
    the same places. By its name where the layer stands inside a nested model."""
    names = setup.model.layer_names
    return f"model.layers[{names.index(name)}]" if name in names else f'model.get_layer("{name}")'


def name_code(setup: Setup, name: str) -> str:
    """Code for a layer's name, as sure as `layer_code`."""
    return f"{layer_code(setup, name)}.name" if name in setup.model.layer_names else f'"{name}"'


def _loss_code(setup: Setup) -> Any:
    if any(loss.custom for loss in setup.losses):
        return Code("model.loss")
    shown: list[Any] = []
    for loss in setup.losses:
        options = {"from_logits": True} if loss.from_logits else {}
        if loss.label_smoothing:
            options["label_smoothing"] = loss.label_smoothing  # type: ignore[assignment]
        shown.append(loss_object(loss.name, **options) if options else loss.name)
    return shown[0] if len(shown) == 1 else shown


def loss_object(name: str, **options: Any) -> Code:
    """`keras.losses.BinaryCrossentropy(from_logits=True)` from the canonical name."""
    class_name = {"kl_divergence": "KLDivergence", "log_cosh": "LogCosh"}.get(
        name, "".join(part.capitalize() for part in name.split("_"))
    )
    shown = ", ".join(f"{key}={_literal(value)}" for key, value in options.items())
    return Code(f"keras.losses.{class_name}({shown})")


def _literal(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        # Keras refuses learning_rate=1: a float keeps its decimal point.
        text = f"{value:.4g}"
        return text if not text.lstrip("-").isdigit() else f"{text}.0"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{k}": {_literal(v)}' for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return repr(value)
