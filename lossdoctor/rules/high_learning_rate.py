from __future__ import annotations

from dataclasses import dataclass, replace

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import EXPLODES, LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import REPLACED, SETTLING, StepSize
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.evidence.unit_activity import UnitActivity
from lossdoctor.finding import Finding, Measurement, Onset, Severity, Stage
from lossdoctor.rules._effects import RATES, STUCK, UNSTABLE
from lossdoctor.rules._remedies.step_size import lower_from_curve, smaller_steps
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
HOPELESS, SETTLED = 0.9, 0.1  # ends of runs that learned nothing, or all but everything
SURGE = 100.0  # with steps that replace the weights, so steep a rise leaves nothing as it was
RESTLESS = 0.3  # of `swing`, after steps above `update_ratio`: 0 of 690 healthy runs had both
IDLE = 1e-3  # update ratio below which jumps of the loss have another cause than the step size
_MEASURED = "1,428 runs, 238 random MLPs on 20 tasks at six learning rates each: "


@dataclass(frozen=True, kw_only=True)
class HighLearningRate(Rule):
    """The learning rate is so high that the steps throw the weights about.

    **What it detects.** Updates that are large against the weights they change, in a run that blew
    up, ended no better than a constant, never settles, or had to come down from a huge loss.

    **Why it matters.** Beyond 2/λ on a loss of curvature λ (2(1+β)/λ with momentum β) each step
    makes the error larger. A few of them overwrite the weights: units die.

    **How it is measured.** ‖Δw‖/‖w‖ of every kernel at sampled steps (biases start at zero), with
    where the loss ends or how it jumps. In a history, by a loss that climbs epoch by epoch.

    **How to fix it.** A rate whose first update is about 1 % of the weights (3 % without momentum),
    or half the largest stable rate where the curvature allows less.

    **When it is wrong.** Large inputs or targets make sound rates too high; their rules explain
    this one. Spikes that heal and the edge of stability, while the loss falls, are left alone.

    **References.** LeCun et al., Efficient BackProp (1998). Cohen et al., Edge of stability (2021).
    """

    title = "Learning rate too high"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = (UNSTABLE | STUCK) - RATES - {"high_initial_loss"}

    update_ratio: float = threshold(
        0.2,
        fires="above",
        unit="of the weights in one step",
        source=_MEASURED + "with `remaining` it names 92 % of the 386 whose rate was too high, "
        "none of the 194 at a usual rate that learned their task; literature: 0.1",
    )
    remaining: float = threshold(
        0.6,
        fires="above",
        unit="of a constant prediction's loss",
        source=_MEASURED + "98 % of those that learned their task end below 0.57",
    )
    late_ratio: float = threshold(
        0.05,
        fires="above",
        unit="of the weights in a typical late step, or in one where a whole layer died",
        source=_MEASURED + "98 % of those that learned their task stay below 0.015; papers: 0.1",
    )
    swing: float = threshold(
        0.1,
        fires="above",
        unit="of a constant prediction's loss, from epoch to epoch",
        source=_MEASURED + "98 % of those that learned their task stay below 0.014",
    )

    def check(
        self,
        curve: LossCurve,
        sizes: StepSize | None,
        scale: LossScale | None,
        outcome: TrainingOutcome | None,
        setup: Setup | None,
        activity: UnitActivity | None,
    ) -> Findings:
        if sizes is None or setup is None:
            yield self._from_history(curve)
            return
        limit = sizes.limit(self.late_ratio if activity and activity.killed else self.update_ratio)
        failed = outcome is not None and outcome.share < 1 - HOPELESS
        if (symptom := self._symptom(curve, sizes, scale, failed, limit)) is None:
            return
        sentence, severity, measurements = symptom
        onset = sizes.first_above(self.update_ratio)
        rate = Measurement(name="learning rate", value=sizes.present_rate)
        stable = (Measurement(name="largest stable", value=limit) for limit in sizes.exceeded)
        yield self.finding(
            f"At a learning rate of {sizes.present_rate:g} single updates reach {sizes.peak:.2g} "
            f"times the weights they change, and {sentence}.",
            severity=severity,
            measurements=[*measurements, rate, *stable],
            onset=Onset(epoch=onset.epoch, step=onset.step) if onset else None,
            remedies=smaller_steps(setup, sizes, curve),
        )

    def _symptom(
        self, curve: LossCurve, sizes: StepSize, scale: LossScale | None, failed: bool, limit: float
    ) -> tuple[str, Severity, tuple[Measurement, ...]] | None:
        large = self.measure("update_ratio", sizes.peak)
        if curve.blew_up and sizes.peak > self.update_ratio:
            return ("then the loss stopped being finite", Severity.ERROR, (large,))
        if scale is None:
            if failed and sizes.peak > limit:
                return ("the model learned nothing", Severity.ERROR, (large,))
            curve.require_known_meaning()
            return None
        end = self.measure("remaining", scale.end)
        if scale.end > self.remaining and sizes.peak > limit:
            severity = Severity.ERROR if scale.end > HOPELESS else Severity.WARNING
            large = replace(large, threshold=limit)
            return (f"the loss ends {scale.place}", severity, (large, end))
        if scale.end <= SETTLED:
            return None
        if (surge := curve.surge(scale.value)) > SURGE and sizes.peak > REPLACED:
            sentence = f"the loss rose to {surge:,.0f} times what it began with"
            return (sentence, Severity.WARNING, (large, end))
        if curve.tail.falls(SIGNIFICANCE) or sizes.total_steps <= SETTLING:
            return None
        if sizes.late > self.late_ratio:
            sentence = f"in the second half of the run they are still {sizes.late:.2g}"
            return (sentence, Severity.WARNING, (self.measure("late_ratio", sizes.late), end))
        most = self.swing * (RESTLESS if sizes.peak > self.update_ratio else 1)
        if (swing := curve.swing / scale.value) > most and sizes.typical > IDLE:
            sentence = f"the loss jumps by {swing:.2g} {scale.unit} from epoch to epoch"
            jumps = replace(self.measure("swing", swing), threshold=most)
            return (sentence, Severity.WARNING, (jumps, end))
        return None

    def _from_history(self, curve: LossCurve) -> Finding:
        curve.require_known_meaning()
        if (climb := curve.climb) < EXPLODES:
            raise NotApplicable("update norms: run with LossDoctor()")
        measured = Measurement(name="climb", value=climb, threshold=EXPLODES, fires="above")
        return self.finding(
            f"The loss climbs from epoch to epoch, to {climb:,.0f} times its lowest value.",
            measurements=[measured],
            onset=Onset(epoch=curve.best_epoch),
            remedies=[lower_from_curve(curve)],
        )
