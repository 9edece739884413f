from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.gradient_growth import GradientGrowth
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Measurement, Onset, Severity, Stage
from lossdoctor.rules._remedies.gradients import against_exploding
from lossdoctor.rules._rule import Findings, Rule, threshold

SIZABLE = 1.0
"""A gradient smaller than the weights has come out of a plateau, it has not exploded."""


@dataclass(frozen=True, kw_only=True)
class ExplodingGradients(Rule):
    """Gradients grow until a single step throws the weights away.

    **What it detects.** A global gradient norm that ends (or, in a run that became non-finite,
    last stood) over a hundred times above its first steps, or that is huge against the weights
    from the first step, in a run that learned nothing.

    **Why it matters.** The next update is as long as the gradient: weights are overwritten, units
    die or saturate, the loss jumps, and within a few more steps everything is NaN.

    **How it is measured.** From the norm over all trainable weights, before clipping, at the steps
    that are looked at, among them those whose loss jumps: the median of the last quarter (or the
    largest of the last three finite ones) over the median of the first ten; and the first norm over
    that of the initial weights, where the first update really was large. Steps after the first
    non-finite number do not count.

    **How to fix it.** First what explains it: unscaled inputs or targets, or the learning rate.
    Where nothing does (recurrent layers over long sequences, deep networks without
    normalization), clip at the norm the run itself shows to be ordinary.

    **When it is wrong.** Single spikes, growth out of a plateau at the start, noise around a
    converged end and gradients that clipping tames are left alone: the run then ends below a
    constant prediction's loss. Adam is indifferent to the gradients' scale, so a large first
    gradient alone never fires.

    **References.** Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
    networks (2013). Philipp, Song and Carbonell, The exploding gradient problem demystified (2017).
    """

    title = "Exploding gradients"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = frozenset(
        {
            "constant_predictions",
            "dead_units",
            "diverging_loss",
            "exploding_weights",
            "loss_metric_divergence",
            "loss_plateau",
            "non_finite_loss",
            "oscillating_loss",
            "saturated_activations",
            "saturated_output",
            "stalled_updates",
            "underfitting",
        }
    )

    growth: float = threshold(
        100,
        fires="above",
        unit="times the first steps' norm",
        source="Reasoning; measured: 38 healthy set-ups end at 0.0003 to 4 and peak at 24 (out of "
        "a plateau), runs that blow up reach 1e4 and more before the first NaN",
    )
    first_ratio: float = threshold(
        1e3,
        fires="above",
        unit="of the weights' norm, at the first step",
        source="Reasoning; measured: healthy set-ups lie at 0.01 to 70 (unscaled targets under "
        "Adam), inputs x1000 under squared error at 1e6",
    )
    update_ratio: float = threshold(
        0.1,
        fires="above",
        unit="of the weights, by the first step",
        source="TorchMortem, DeepDiagnosis; with it a large gradient that clipping, Adam or a "
        "small rate tames stays silent",
    )
    remaining: float = threshold(
        0.9,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured: 98 % of runs that learned their task end below 0.57",
    )

    def check(
        self,
        gradients: GradientGrowth,
        sizes: StepSize | None,
        scale: LossScale | None,
        setup: Setup,
    ) -> Findings:
        failed = gradients.ended_non_finite or (scale is not None and scale.end > self.remaining)
        if not failed:
            return
        first_update = sizes.first if sizes else 0.0
        if gradients.growth > self.growth and gradients.late_ratio > SIZABLE:
            onset = gradients.onset(self.growth)
            how = (
                f"grows from {gradients.early:.2g} in the first steps to {gradients.late:.2g}"
                f" ({gradients.growth:,.3g} times)"
            )
            measured = [self.measure("growth", gradients.growth)]
        elif gradients.first_ratio > self.first_ratio and first_update > self.update_ratio:
            onset = Onset(epoch=int(gradients.epoch[0]), step=int(gradients.step[0]))
            how = (
                f"is {gradients.norm[0]:.2g} at the first step, {gradients.first_ratio:,.3g} times "
                "that of the weights"
            )
            measured = [
                self.measure("first_ratio", gradients.first_ratio),
                self.measure("update_ratio", first_update),
            ]
        else:
            return
        if gradients.ended_non_finite:
            end = f"the last finite one is step {gradients.step[-1]:,}"
        else:
            assert scale is not None
            end = f"the loss ends {scale.place}"
            measured.append(self.measure("remaining", scale.end))
        yield self.finding(
            f"The global gradient norm {how}, and {end}.",
            measurements=[
                *measured,
                Measurement(name="first norms", value=gradients.early, unit="global gradient norm"),
            ],
            onset=onset,
            remedies=against_exploding(setup, gradients.ordinary, sizes),
        )
