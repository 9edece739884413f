from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence.loss_curve import DATA_SOURCES, EXPLODES, LossCurve
from lossdoctor.evidence.output_head import OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Finding, Onset, Remedy, Severity, Stage
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._remedies.step_size import lower_from_curve, smaller_steps
from lossdoctor.rules._rule import Findings, Rule

GROWING = 0.2
_SOURCES = {
    "inputs": "the inputs of that batch already contain NaN or infinity",
    "targets": "the targets of that batch already contain NaN or infinity",
    "sample_weight": "the sample weights of that batch already contain NaN or infinity",
    "weights": "the model's own weights already are NaN or infinite",
    "forward": "with finite data and weights, the forward pass overflows",
    "loss": "the predictions are finite, but the loss computed from them is not",
    "gradients": "the loss is finite, but its gradient is not",
}


@dataclass(frozen=True, kw_only=True)
class NonFiniteLoss(Rule):
    """The loss becomes NaN or infinite.

    **What it detects.** The first loss that is not a finite number, in training or validation;
    before training, weights that an earlier run left NaN.

    **Why it matters.** One update with it makes every weight NaN; whatever follows is lost, though
    Keras goes on training without a word.

    **How it is measured.** At every recorded step, in this order: inputs, targets, sample weights,
    weights, the forward pass layer by layer, the loss, the gradients. The first that is not finite
    names the source. A history only shows the epoch. Steps skipped by loss scaling do not count.

    **How to fix it.** At the source: clean the data; keep logarithms, roots and quotients of a
    custom loss away from zero; lower the learning rate where the weights had grown before.

    **When it is wrong.** The number is a fact; which finding explains it says why. A validation
    loss alone can be NaN because no validation batch ran.

    **References.** Goodfellow et al., Deep Learning (2016), section 4.1 (overflow and underflow).
    """

    title = "Loss is not a finite number"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = frozenset({"constant_predictions", "loss_metric_divergence"})

    def check(
        self,
        curve: LossCurve | None,
        sizes: StepSize | None,
        outputs: OutputHeads | None,
        setup: Setup | None,
    ) -> Findings:
        if setup is not None and setup.non_finite_layers:
            yield self._spoiled(setup)
        elif curve is None:
            raise NotRecorded("the loss of a run: train with LossDoctor()")
        elif curve.non_finite is not None:
            origin = curve.origin
            source = f": {_SOURCES[origin.source]}" if origin else ""
            place = f" in layer '{origin.layer}'" if origin and origin.layer else ""
            yield self.finding(
                f"The loss is not finite from {_when(curve.non_finite)} on{source}{place}.",
                onset=Onset(epoch=curve.non_finite.epoch, step=curve.non_finite.step),
                layers=[origin.layer] if origin and origin.layer else [],
                remedies=_remedies(curve, sizes, outputs),
            )
        elif curve.validation_non_finite is not None:
            yield self.finding(
                f"The validation loss is not finite from {_when(curve.validation_non_finite)} on, "
                "while the training loss is.",
                onset=Onset(epoch=curve.validation_non_finite.epoch),
                remedies=[_VALIDATION],
            )

    def _spoiled(self, setup: Setup) -> Finding:
        layers = setup.non_finite_layers
        return self.finding(
            f"The weights of '{layers[0]}' already are NaN or infinite before the first step, as an "
            "earlier training that blew up leaves them, and no training brings them back.",
            layers=layers,
            remedies=[
                Remedy(
                    text="Build the model anew, so that it starts from fresh weights, and cure what "
                    "made the earlier training blow up first: its own report names it.",
                    code="model = keras.models.clone_model(model)\n" + compile_code(setup),
                )
            ],
        )


def _when(moment: Moment) -> str:
    step = "" if moment.step is None else f", step {moment.step:,},"
    return f"epoch {moment.epoch + 1:,}{step}"


def _remedies(
    curve: LossCurve, sizes: StepSize | None, outputs: OutputHeads | None
) -> list[Remedy]:
    if sizes is None or outputs is None:
        return [lower_from_curve(curve)] if curve.climb > EXPLODES else [_RECORD]
    source = curve.origin.source if curve.origin else None
    if source in DATA_SOURCES:
        return [_CLEAN]
    if sizes.peak > GROWING or curve.explosion > EXPLODES:
        return smaller_steps(outputs.setup, sizes, curve)
    if any(head.loss.custom for head in outputs.heads):
        return [_guard_custom_loss(outputs)]
    return [_DEBUG]


def _guard_custom_loss(outputs: OutputHeads) -> Remedy:
    targets = outputs.heads[0].targets
    continuous = len(outputs.heads) == 1 and targets is not None and not targets.integral
    return Remedy(
        text="The updates were small, and the loss is one of your own: keep the arguments of its "
        "logarithms, roots and quotients away from zero, as in keras.ops.log(keras.ops.maximum(x, "
        "1e-7)). A run with a built-in loss shows whether it is the culprit.",
        code=compile_code(outputs.setup, loss="mean_squared_error") if continuous else "",
    )


_CLEAN = Remedy(
    text="Leave out the rows that are not finite.",
    code="values = np.asarray(X, dtype='float64').reshape(len(X), -1)\n"
    "targets = np.asarray(y, dtype='float64').reshape(len(y), -1)\n"
    "keep = np.isfinite(values).all(axis=1) & np.isfinite(targets).all(axis=1)\n"
    "X, y = X[keep], y[keep]",
)
_VALIDATION = Remedy(
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
