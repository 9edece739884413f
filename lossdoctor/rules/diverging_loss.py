from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Finding, Measurement, Onset, Remedy, Severity, Stage
from lossdoctor.rules._remedies.step_size import lower_from_curve, smaller_steps
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
TINY = 1e-9
_MEASURED = "1,428 runs, 238 random MLPs on 20 tasks at six learning rates each: "


@dataclass(frozen=True, kw_only=True)
class DivergingLoss(Rule):
    """The training loss rises instead of falling.

    **What it detects.** A training loss that climbs persistently from its lowest value, to a level
    worse than that of a constant prediction, or that grows without bound.

    **Why it matters.** The optimizer's one task is to lower this number. When it rises and goes on
    rising, training longer makes the model worse.

    **How it is measured.** On the loss without recorded penalties: the typical loss of the last
    epochs against the lowest of any stretch as long, with a Mann-Kendall trend in between
    (p < 0.01), and against the loss of the best constant prediction (of the first step, where that
    is unknown). Also on single steps, where the loss explodes within an epoch.

    **How to fix it.** By its cause, mostly the size of the steps: another finding names it where
    one was measured. Else a lower learning rate, computed from the growth of the loss.

    **When it is wrong.** A single spike that heals, penalties that are ramped up (they are
    subtracted), custom losses, GANs and reinforcement learning (it abstains): there a rising loss
    can be right.

    **References.** Mann (1945) and Kendall (1975) for the trend test. Goodfellow et al., Deep
    Learning (2016), section 8.2.
    """

    title = "Training loss rises"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = frozenset({"loss_plateau", "loss_metric_divergence", "underfitting"})

    rise: float = threshold(
        1.5,
        fires="above",
        unit="times the lowest loss",
        source="trainproof. " + _MEASURED + "with the demand to end above a constant prediction's "
        "loss none that learned its task fires",
    )
    explosion: float = threshold(
        10.0,
        fires="above",
        unit="times the loss of the first step",
        source=_MEASURED + "none that learned its task or had too low a rate ends above its first "
        "loss",
    )

    def check(
        self,
        curve: LossCurve,
        scale: LossScale,
        sizes: StepSize | None,
        setup: Setup | None,
    ) -> Findings:
        if curve.hidden_penalty:
            raise NotApplicable("a penalty whose size was not recorded may be what rises")
        explosion = curve.explosion
        rise = scale.end / max(scale.best, TINY)
        if explosion > self.explosion:
            yield self._found(
                f"The loss grew to {explosion:,.3g} times that of the first step"
                + (" before it stopped being finite." if curve.non_finite else "."),
                [self.measure("explosion", explosion)],
                curve,
                _remedies(curve, sizes, setup),
            )
        elif rise > self.rise and scale.end > 1 and curve.since_best.rises(SIGNIFICANCE):
            yield self._found(
                f"Since epoch {curve.best_epoch + 1} the training loss has risen to {rise:.3g} "
                f"times its lowest value, and ends {scale.place}.",
                [self.measure("rise", rise), Measurement(name="end", value=scale.end)],
                curve,
                _remedies(curve, sizes, setup),
            )

    def _found(
        self,
        message: str,
        measurements: list[Measurement],
        curve: LossCurve,
        remedies: list[Remedy],
    ) -> Finding:
        return self.finding(
            message,
            measurements=measurements,
            onset=Onset(epoch=curve.best_epoch),
            remedies=remedies,
        )


def _remedies(curve: LossCurve, sizes: StepSize | None, setup: Setup | None) -> list[Remedy]:
    if sizes is None or setup is None:
        return [lower_from_curve(curve)]
    return smaller_steps(setup, sizes, curve)
