"""Remedies for losses, data and weights that are not finite numbers."""

from __future__ import annotations

from lossdoctor.evidence.loss_curve import DATA_SOURCES, EXPLODES, LossCurve
from lossdoctor.evidence.output_head import OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._remedies.step_size import lower_from_curve, smaller_steps

GROWING = 0.2


def at_the_source(
    curve: LossCurve, sizes: StepSize | None, outputs: OutputHeads | None
) -> list[Remedy]:
    """What to do about a loss that stopped being finite, by where that first showed."""
    if sizes is None or outputs is None:
        return [lower_from_curve(curve)] if curve.climb > EXPLODES else [_RECORD]
    source = curve.origin.source if curve.origin else None
    if source in DATA_SOURCES:
        return [_CLEAN]
    if sizes.peak > GROWING or curve.explosion > EXPLODES:
        return smaller_steps(outputs.setup, sizes, curve)
    if curve.origin is not None and curve.origin.layer is not None:
        return [_guard_layer(curve.origin.layer)]
    if any(head.loss.custom for head in outputs.heads):
        return [_guard_custom_loss(outputs)]
    return [_DEBUG]


def _guard_layer(layer: str) -> Remedy:
    return Remedy(
        text=f"The updates were small, and '{layer}' is the first whose output is not finite: keep "
        "the arguments of its logarithms, roots and quotients away from zero, as in "
        "keras.ops.log(keras.ops.maximum(x, 1e-7)). TensorFlow names the operation itself, at some "
        "cost in speed.",
        code=_DEBUG.code,
    )


def _guard_custom_loss(outputs: OutputHeads) -> Remedy:
    targets = outputs.heads[0].targets
    continuous = len(outputs.heads) == 1 and targets is not None and not targets.integral
    if targets is not None:
        continuous &= outputs.heads[0].units == (targets.shape[-1] if targets.shape else 1)
    return Remedy(
        text="The updates were small, and the loss is one of your own: keep what its logarithms, "
        "roots and quotients read above zero wherever it stands, by keras.ops.softplus(x) + 1e-3 "
        "if the model predicts it (a spread, a rate), else by keras.ops.maximum(x, 1e-7). A run "
        "with a built-in loss shows whether it is the culprit.",
        code=compile_code(outputs.setup, loss="mean_squared_error") if continuous else "",
    )


_CLEAN = Remedy(
    text="Leave out the rows that are not finite.",
    code="values = np.asarray(X, dtype='float64').reshape(len(X), -1)\n"
    "targets = np.asarray(y, dtype='float64').reshape(len(y), -1)\n"
    "keep = np.isfinite(values).all(axis=1) & np.isfinite(targets).all(axis=1)\n"
    "X, y = X[keep], y[keep]",
)
CLEAN_VALIDATION = Remedy(
    text="Look at the validation data: it holds NaN, an empty set, or inputs the model overflows "
    "on. Leave out the rows that are not finite.",
    code="values = np.asarray(X_val, dtype='float64').reshape(len(X_val), -1)\n"
    "keep = np.isfinite(values).all(axis=1)\n"
    "X_val, y_val = X_val[keep], y_val[keep]",
)
_RECORD = Remedy(
    text="The curve alone cannot tell data, labels and learning rate apart: train again with "
    "LossDoctor(), which sees which of them was first not finite.",
    code="from lossdoctor import LossDoctor\n\ncallbacks = [LossDoctor()]",
)
_DEBUG = Remedy(
    text="Data and updates were sound, so an operation of the model is undefined where it was "
    "used (a logarithm, root or quotient at zero): let TensorFlow name it, at some cost in speed.",
    code="import tensorflow as tf\n\ntf.debugging.enable_check_numerics()",
)


def fresh_weights(setup: Setup) -> Remedy:
    """The same model with weights drawn anew."""
    return Remedy(
        text="Build the model anew, so that it starts from fresh weights, and cure what made the "
        "earlier training blow up first: its own report names it.",
        code="model = keras.models.clone_model(model)\n" + compile_code(setup),
    )
