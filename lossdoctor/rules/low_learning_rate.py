from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import MANY_STEPS, StepSize
from lossdoctor.finding import Measurement, Severity, Stage
from lossdoctor.rules._remedies.step_size import adaptive_optimizer, raise_rate
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
LARGE = 0.1
HOPELESS = 0.9
"""Where a constant prediction's loss has hardly been left, the loss need not visibly fall."""
_MEASURED = "1,428 runs, 238 random MLPs on 20 tasks at six learning rates each: "


@dataclass(frozen=True, kw_only=True)
class LowLearningRate(Rule):
    """The learning rate is so low that the run ends long before it has learned.

    **What it detects.** A loss still far from its floor and still falling, while every update
    changes the weights by a vanishing share.

    **Why it matters.** To learn a task the weights of a fresh network must change by about their
    own size. With updates of 1/100,000 of the weights that takes some 100,000 steps.

    **How it is measured.** ‖Δw‖/‖w‖ of the fastest kernel in the quickest quarter of the run (so
    that a schedule that has decayed, or a converged end, does not count), and the sum of it, under
    SGD without what batches move to and fro (√(rate x steps x fall of the loss) bounds the rest);
    how often the rate goes into the largest stable one; where and how the loss ends.

    **How to fix it.** The rate whose first update is about 1 % of the weights (3 % without
    momentum); or Adam, whose steps do not depend on how small the gradients are.

    **When it is wrong.** Fine-tuning needs no more than small steps, and ends with a low loss: it
    is left alone, as is a run that has converged. Where gradients vanish or labels do not fit the
    loss, those rules explain this one.

    **References.** Karpathy, CS231n notes (2015), "Ratio of weights:updates": around 1e-3.
    Bengio, Practical recommendations for gradient-based training (2012), section 3.1.1.
    """

    title = "Learning rate too low"
    severity = Severity.WARNING
    stage = Stage.STEP_SIZE
    explains = frozenset(
        {
            "constant_predictions",
            "loss_metric_divergence",
            "loss_plateau",
            "noisy_gradients",
            "underfitting",
            "undertrained",
        }
    )

    update_ratio: float = threshold(
        3e-4,
        fires="below",
        unit="of the weights per step",
        source=_MEASURED
        + "with `remaining` and `gain` it names 87 % of the 547 whose rate was too "
        "low, and none of the 194 at a usual rate that learned their task",
    )
    remaining: float = threshold(
        0.3,
        fires="above",
        unit="of a constant prediction's loss",
        source=_MEASURED + "nine in ten of those that learned their task end below 0.29",
    )
    gain: float = threshold(
        0.02,
        fires="above",
        unit="of a constant prediction's loss by half as many epochs again",
        source=_MEASURED + "one in four with too low a rate would gain less, but those end above "
        "0.9 of a constant prediction's loss",
    )

    headroom: float = threshold(
        50.0,
        fires="above",
        unit="times below the largest stable rate",
        source=_MEASURED + "none of those that learned their task at a usual rate with more than "
        "0.2 of a constant prediction's loss left exceeds it",
    )
    travel: float = threshold(
        1.0,
        fires="below",
        unit="times their own size that the weights were moved in all",
        source=_MEASURED
        + "three in four with too low a rate stay below 0.12, nine in ten of those "
        "that learned their task above 1.2",
    )
    leverage: float = threshold(
        0.01,
        fires="below",
        unit="of a constant prediction's loss if weights double; less means vanishing gradients",
        source=_MEASURED + "98 % of those with too low a rate lie above 0.14",
    )

    def check(self, curve: LossCurve, sizes: StepSize, scale: LossScale, setup: Setup) -> Findings:
        if curve.non_finite is not None:
            raise NotApplicable("the loss stopped being finite")
        hopeless = scale.end > HOPELESS
        gain = curve.gain_ahead / scale.value
        seen = gain > self.gain or sizes.typical < self.update_ratio / 10
        if scale.end <= self.remaining or not (
            hopeless or (seen and curve.tail.falls(SIGNIFICANCE))
        ):
            return
        # After a few large steps units are dead or saturated, and small updates their fault.
        if sizes.peak > LARGE or sizes.typical_leverage / scale.value < self.leverage:
            return
        drawn = sizes.drift(curve.fall) if curve.tail.falls(SIGNIFICANCE) else math.inf
        slow = self._slow(sizes, min(sizes.travel, drawn) if hopeless else math.inf)
        if not slow:
            return
        adaptive = adaptive_optimizer(setup)
        yield self.finding(
            f"At a learning rate of {sizes.present_rate:g} a step changes the weights by only "
            f"{sizes.typical:.1e} of their size, so that after {sizes.total_steps:,} steps the "
            f"loss still stands {scale.place}.",
            measurements=[
                *slow,
                self.measure("remaining", scale.end),
                Measurement(name="learning rate", value=sizes.present_rate),
            ],
            remedies=[
                raise_rate(setup, sizes.raise_rate(), sizes.present_rate),
                *([adaptive] if adaptive else []),
            ],
        )

    def _slow(self, sizes: StepSize, travel: float) -> list[Measurement]:
        """What shows that the steps are too small, rather than too few; empty if they are not."""
        found = []
        if sizes.typical < self.update_ratio:
            found.append(self.measure("update_ratio", sizes.typical))
        if sizes.total_steps < MANY_STEPS:
            return found
        if sizes.headroom is not None and sizes.headroom > self.headroom:
            found.append(self.measure("headroom", sizes.headroom))
        if travel < self.travel:
            found.append(self.measure("travel", travel))
        return found
