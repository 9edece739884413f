from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.weight_growth import WeightGrowth
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._remedies.gradients import clip_norm, limit_weights, smaller_rate
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class ExplodingWeights(Rule):
    """Weights grow without bound while the loss gains nothing from it.

    **What it detects.** A kernel whose norm ended over ten times its initial one and was still
    growing, in a run that became non-finite or learned nothing.

    **Why it matters.** Every layer passes its growth on to the next: outputs, loss and gradients
    grow with the product of all kernels, until they overflow.

    **How it is measured.** The norm of every kernel at sampled finite steps, over its norm before
    the first step (a kernel set to zero counts as a Glorot draw), and the last norm over that at
    half of the steps.

    **How to fix it.** A lower learning rate stops the growth at its source; weight decay or a
    max-norm constraint bounds it.

    **When it is wrong.** Separable classes and physical units need large weights: the XOR
    networks grow them 8 to 19 times while their loss falls to a thousandth. A run that
    learns is therefore left alone, and so is growth that has come to rest.

    **References.** Soudry et al., The implicit bias of gradient descent on separable data (2018):
    sound growth is logarithmic. TorchMortem: tenfold growth.
    """

    title = "Exploding weights"
    severity = Severity.WARNING
    stage = Stage.STEP_SIZE
    explains = frozenset({"non_finite_loss", "saturated_output"})

    growth: float = threshold(
        10,
        fires="above",
        unit="times the initial norm",
        source="TorchMortem; measured: 152 healthy runs at 0.9 to 19, exploding ones at 1e5 "
        "before the first NaN",
    )
    recent: float = threshold(
        1.5,
        fires="above",
        unit="times the norm at half of the steps",
        source="Algebra: growth as the square root of time (a random walk) gives 1.41, "
        "logarithmic growth (separable classes) less, steady growth 2",
    )
    remaining: float = threshold(
        0.9,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured: 98 % of runs that learned their task end below 0.57",
    )

    def check(
        self,
        weights: WeightGrowth,
        scale: LossScale | None,
        sizes: StepSize | None,
        setup: Setup,
    ) -> Findings:
        found = weights.above(self.growth, self.recent)
        failed = scale is not None and scale.end > self.remaining
        if not found or not (failed or weights.ended_non_finite):
            return
        worst = max(found, key=lambda kernel: kernel.growth)
        end = (
            "the run then stopped being finite"
            if weights.ended_non_finite or scale is None
            else f"the loss ends {scale.place}"
        )
        yield self.finding(
            f"The kernel of '{worst.layer}' grew to {worst.growth:,.3g} times its initial norm, "
            f"{worst.recent:,.3g} times in the second half alone, and {end}.",
            severity=Severity.ERROR if weights.ended_non_finite else None,
            measurements=[
                self.measure("growth", worst.growth),
                self.measure("recent", worst.recent),
                *([self.measure("remaining", scale.end)] if scale and failed else []),
            ],
            layers=list(dict.fromkeys(kernel.layer for kernel in found)),
            remedies=_remedies(setup, sizes),
        )


def _remedies(setup: Setup, sizes: StepSize | None) -> list[Remedy]:
    lower = [smaller_rate(setup, sizes)] if sizes else []
    return [
        *lower,
        clip_norm(setup, 1.0, "it bounds how far a single step can push the weights"),
        limit_weights(setup),
    ]
