from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import EXPLODES, LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Finding, Measurement, Onset, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.step_size import clip_gradients, lower_from_curve, lower_rate
from lossdoctor.rules._rule import Findings, Rule, threshold

HOPELESS = 0.9
"""A run that ends this close to a constant prediction has learned nothing of use."""
SETTLED = 0.1
SETTLING = 100
REPLACED = 1.0
SIGNIFICANCE = 0.01
IDLE = 1e-3
"""Below this update ratio jumps of the loss have another cause than the step size."""
_MEASURED = "1,100 runs of random MLPs on 17 tasks with known best rates: "


@dataclass(frozen=True, kw_only=True)
class HighLearningRate(Rule):
    """The learning rate is so high that the steps throw the weights about.

    **What it detects.** A run that blew up, ended no better than a constant or never settles, and
    whose updates are large against the weights they change.

    **Why it matters.** On a loss of curvature λ, gradient descent grows instead of shrinking the
    error along that direction once the rate exceeds 2/λ, 2(1+β)/λ with momentum β. A few such
    steps overwrite the initial weights: units die or saturate, or the loss becomes infinite.

    **How it is measured.** ‖Δw‖/‖w‖ of every kernel at sampled steps (never of biases, which start
    at zero), with where the loss ends between the best constant prediction and a perfect one: a
    large update alone is no fault, because plenty of runs with unusual rates work. In a history
    without updates, by a loss that climbs from epoch to epoch.

    **How to fix it.** A rate whose first update is about 1 % of the weights (3 % without
    momentum), or half the largest stable rate where the measured curvature allows less.

    **When it is wrong.** Large inputs or targets make sound rates too high; then those rules are
    present and explain this one. Spikes that heal and oscillation at the edge of stability
    (learning rate x λ = 2) while the loss falls are healthy and left alone.

    **References.** LeCun et al., Efficient BackProp (1998), section 5. Cohen et al., Gradient
    Descent on Neural Networks Typically Occurs at the Edge of Stability (2021).
    """

    title = "Learning rate too high"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = (UNSTABLE | STUCK) - {
        "high_initial_loss",
        "high_learning_rate",
        "low_learning_rate",
        "unstable_learning_rate",
    }

    update_ratio: float = threshold(
        0.2,
        fires="above",
        unit="of the weights in one step",
        source=_MEASURED + "with `remaining` it names 83 of 89 runs whose rate was too high and "
        "none of 489 others",
    )
    remaining: float = threshold(
        0.6,
        fires="above",
        unit="of a constant prediction's loss",
        source=_MEASURED + "98 % of runs that learned their task end below 0.57",
    )
    late_ratio: float = threshold(
        0.05,
        fires="above",
        unit="of the weights in a typical late step",
        source="TorchMortem, DeepDiagnosis; the tutorial's healthy runs stay below 0.024",
    )
    swing: float = threshold(
        0.1,
        fires="above",
        unit="of a constant prediction's loss, from epoch to epoch",
        source=_MEASURED + "98 % of runs that learned their task stay below 0.014",
    )

    def check(
        self,
        curve: LossCurve,
        sizes: StepSize | None,
        scale: LossScale | None,
        setup: Setup | None,
    ) -> Findings:
        if sizes is None or setup is None:
            yield self._from_history(curve)
            return
        if scale is None and not curve.blew_up:
            curve.require_known_meaning()
        symptom = self._symptom(curve, sizes, scale)
        if symptom is None:
            return
        proposed = sizes.lower_rate(curve.growth)
        context = [Measurement(name="learning rate", value=sizes.present_rate)]
        if proposed.largest_stable is not None:
            context.append(
                Measurement(name="largest stable rate, by curvature", value=proposed.largest_stable)
            )
        onset = sizes.first_above(self.update_ratio)
        clipping = clip_gradients(setup)
        yield self.finding(
            f"At a learning rate of {sizes.present_rate:g} single updates reach {sizes.peak:.2g} "
            f"times the weights they change, and {symptom.sentence}.",
            severity=symptom.severity,
            measurements=[*symptom.measurements, *context],
            onset=Onset(epoch=onset.epoch, step=onset.step) if onset else None,
            remedies=[
                lower_rate(setup, proposed, sizes.present_rate),
                *([clipping] if clipping else []),
            ],
        )

    def _symptom(
        self, curve: LossCurve, sizes: StepSize, scale: LossScale | None
    ) -> _Symptom | None:
        large = self.measure("update_ratio", sizes.peak)
        if curve.blew_up and sizes.peak > self.update_ratio:
            return _Symptom("then the loss stopped being finite", Severity.ERROR, (large,))
        if scale is None:
            return None
        end = self.measure("remaining", scale.end)
        hopeless = scale.end > HOPELESS
        # The first steps of a sound run may be wild: to judge a short one takes wilder ones.
        limit = self.update_ratio / (1 + hopeless) if sizes.total_steps > SETTLING else REPLACED
        if scale.end > self.remaining and sizes.peak > limit:
            severity = Severity.ERROR if hopeless else Severity.WARNING
            sentence = f"the loss ends at {scale.end:.3g} {scale.unit}"
            return _Symptom(sentence, severity, (large, end))
        if scale.end <= SETTLED or curve.tail.falls(SIGNIFICANCE) or sizes.total_steps <= SETTLING:
            return None
        if sizes.late > self.late_ratio:
            sentence = f"in the second half of the run they are still {sizes.late:.2g}"
            return _Symptom(
                sentence, Severity.WARNING, (self.measure("late_ratio", sizes.late), end)
            )
        swing = curve.swing / scale.value
        if swing > self.swing and sizes.typical > IDLE:
            sentence = f"the loss jumps by {swing:.2g} {scale.unit} from epoch to epoch"
            return _Symptom(sentence, Severity.WARNING, (self.measure("swing", swing), end))
        return None

    def _from_history(self, curve: LossCurve) -> Finding:
        if not curve.explodes:
            raise NotApplicable("update norms: run with LossDoctor()")
        factor = curve.loss[-1] / curve.loss.min()
        return self.finding(
            f"The loss climbs from epoch to epoch, to {factor:,.0f} times its lowest value, as it "
            "does when steps overshoot.",
            measurements=[
                Measurement(
                    name="loss ÷ lowest", value=factor, threshold=EXPLODES, fires="above", unit="×"
                )
            ],
            onset=Onset(epoch=curve.best_epoch),
            remedies=[lower_from_curve(curve)],
        )


class _Symptom(NamedTuple):
    sentence: str
    severity: Severity
    measurements: tuple[Measurement, ...]
