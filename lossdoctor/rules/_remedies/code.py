"""Write the code of a remedy for the model at hand.

Every snippet runs as it stands where `model`, `X`, `y` (and `X_val`, `y_val`) are the user's own:
`lossdoctor validate` executes it on the freshly built broken model and trains again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.evidence.setup import Setup
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
    table = ",\n".join(f'    "{name}": {_literal(dict(new))}' for name, new in changes.items())
    return (
        f"changes = {{\n{table},\n}}\n"
        "model = keras.models.clone_model(\n"
        "    model,\n"
        "    clone_function=lambda layer: type(layer).from_config(\n"
        "        {**layer.get_config(), **changes.get(layer.name, {})}\n"
        "    ),\n"
        ")\n" + (compile_line or compile_code(setup))
    )


def _loss_code(setup: Setup) -> Any:
    shown: list[Any] = []
    for loss in setup.losses:
        options = {"from_logits": True} if loss.from_logits else {}
        if loss.label_smoothing:
            options["label_smoothing"] = loss.label_smoothing  # type: ignore[assignment]
        if options and not loss.custom:
            shown.append(loss_object(loss.name, **options))
        else:
            shown.append(Code("loss") if loss.custom else loss.name)
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
