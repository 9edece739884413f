from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.gradient_noise import GradientNoise
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
LARGER = 8


@dataclass(frozen=True, kw_only=True)
class NoisyGradients(Rule):
    """The batches are so small that their gradients mostly point at random.

    **What it detects.** A loss that no longer falls and keeps jumping far above its floor, while
    successive batches' gradients hardly agree and the batches are a small part of the data.

    **Why it matters.** Every step then follows the examples it happens to see; the weights wander
    around the minimum at a distance set by the noise, and more epochs do not bring them closer.

    **How it is measured.** Signal to noise ‖G‖²/σ² of the gradient from the inner products of
    successive batches' gradients in the second half of the run, with the jumps of the loss from
    epoch to epoch, its trend, and where it stands.

    **How to fix it.** Larger batches (noise falls with their size), or a decaying learning rate.

    **When it is wrong.** At a minimum the signal vanishes for every batch size; the demand that
    the loss keeps jumping far above its floor is what tells the difference.

    **References.** McCandlish et al., An Empirical Model of Large-Batch Training (2018). Smith et
    al., Don't Decay the Learning Rate, Increase the Batch Size (2018).
    """

    title = "Gradients are mostly noise"
    severity = Severity.WARNING
    stage = Stage.STEP_SIZE
    explains = frozenset({"oscillating_loss", "underfitting", "undertrained"})

    signal_to_noise: float = threshold(
        1.0,
        fires="below",
        unit="‖G‖²/σ²",
        source="McCandlish et al.: below 1 a larger batch pays off in fewer steps",
    )
    swing: float = threshold(
        0.02,
        fires="above",
        unit="of a constant prediction's loss, from epoch to epoch",
        source="1,428 runs of random MLPs: 98 % of those that learned their task stay below 0.014; "
        "batches of one example in the blobs tutorial jump by 0.037 and cost 0.2 of accuracy",
    )
    remaining: float = threshold(
        0.3,
        fires="above",
        unit="of a constant prediction's loss",
        source="nine in ten of those that learned their task end below 0.29",
    )
    batch_share: float = threshold(
        0.05,
        fires="below",
        unit="of the examples in a batch",
        source="reasoning: with fewer than 20 batches there is little left to enlarge",
    )

    def check(self, noise: GradientNoise, curve: LossCurve, scale: LossScale) -> Findings:
        if noise.batch_size is None or not noise.rows:
            raise NotApplicable("the batch size is not known")
        share = noise.batch_size / noise.rows
        swing = curve.swing / scale.value
        quiet = swing <= self.swing or scale.end <= self.remaining
        if quiet or share >= self.batch_share or noise.signal_to_noise >= self.signal_to_noise:
            return
        if curve.tail.falls(SIGNIFICANCE):
            return
        size = min(LARGER * noise.batch_size, noise.rows)
        yield self.finding(
            f"With {noise.batch_size} of {noise.rows:,} examples a batch, the gradient's signal is "
            f"{noise.signal_to_noise:.2g} times its noise, and the loss jumps by {swing:.2g} "
            f"{scale.unit} from epoch to epoch instead of falling.",
            measurements=[
                self.measure("signal_to_noise", noise.signal_to_noise),
                self.measure("swing", swing),
                self.measure("remaining", scale.end),
                Measurement(name="batch size", value=noise.batch_size),
            ],
            remedies=[
                Remedy(
                    text=f"Enlarge the batches to {size} examples: their noise falls to "
                    f"{noise.batch_size / size:.0%}, which a smaller rate would only buy with "
                    "more epochs.",
                    code=f"batch_size = {size}",
                )
            ],
        )
