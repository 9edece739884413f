from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.output_head import OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Finding, Onset, Severity, Stage
from lossdoctor.rules._remedies.non_finite import CLEAN_VALIDATION, at_the_source, fresh_weights
from lossdoctor.rules._rule import Findings, Rule

_SOURCES = {
    "inputs": "the inputs of that batch already contain NaN or infinity",
    "targets": "the targets of that batch already contain NaN or infinity",
    "sample_weight": "the sample weights of that batch already contain NaN or infinity",
    "weights": "the model's own weights already are NaN or infinite",
    "forward": "finite data and weights become NaN or infinite in the forward pass",
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
            place = f", first in layer '{origin.layer}'" if origin and origin.layer else ""
            detail = f" ({origin.detail})" if origin and origin.detail else ""
            yield self.finding(
                f"The loss is not finite from {_when(curve.non_finite)} on{source}{place}{detail}.",
                onset=Onset(epoch=curve.non_finite.epoch, step=curve.non_finite.step),
                layers=[origin.layer] if origin and origin.layer else [],
                remedies=at_the_source(curve, sizes, outputs),
            )
        elif curve.validation_non_finite is not None:
            yield self.finding(
                f"The validation loss is not finite from {_when(curve.validation_non_finite)} on, "
                "while the training loss is.",
                onset=Onset(epoch=curve.validation_non_finite.epoch),
                remedies=[CLEAN_VALIDATION],
            )

    def _spoiled(self, setup: Setup) -> Finding:
        layers = setup.non_finite_layers
        return self.finding(
            f"The weights of '{layers[0]}' already are NaN or infinite before the first step, as "
            "an earlier training that blew up leaves them, and no training brings them back.",
            layers=layers,
            remedies=[fresh_weights(setup)],
        )


def _when(moment: Moment) -> str:
    step = "" if moment.step is None else f", step {moment.step:,},"
    return f"epoch {moment.epoch + 1:,}{step}"
