from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.logged_accuracy import LoggedAccuracy
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._remedies.capacity import learn_by_heart, record_it
from lossdoctor.rules._rule import Findings, Rule, threshold

FEWEST_STEPS = 100
FEWEST_EPOCHS = 10
SIGNIFICANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class LossPlateau(Rule):
    """The loss never got materially below that of a constant prediction.

    **What it detects.** A finished run that predicts no better than the best constant would.

    **Why it matters.** The loss of the best constant (ln C for C equally frequent classes, the
    variance of the targets under MSE) is what a model reaches that ignores its inputs. A run that
    stays there has learned nothing from them, whatever its metrics say.

    **How it is measured.** The lowest typical loss of any stretch of epochs, or the trained
    model's own loss in inference mode where that is lower, against the compiled loss of the best
    constant prediction, minus the floor that soft labels set. A history without targets is judged
    only where it stays at ln C, the loss of uninformed predictions, for C up to ten; within 3 %
    of it where the accuracy stays near 1/C, too (WARNING: a history does not say why).

    **How to fix it.** By its cause: where another finding explains it, start there. Otherwise try
    whether the model can learn a few examples by heart: if not, the fault is in the model or the
    loss, if so, in the data or the size of the model.

    **When it is wrong.** Where the inputs truly say little about the targets (returns, coin
    tosses), a loss 1 % below the baseline can be all there is.

    **References.** Karpathy, A Recipe for Training Neural Networks (2019): "overfit one batch".
    """

    title = "Loss stuck at the level of a constant prediction"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = frozenset({"loss_metric_divergence", "noisy_gradients", "underfitting"})

    improvement: float = threshold(
        0.02,
        fires="below",
        unit="of a constant prediction's loss",
        source="reasoning: 300 binary examples move the baseline itself by about this much",
    )

    def check(
        self,
        curve: LossCurve,
        baseline: Baseline | None,
        sizes: StepSize | None,
        accuracy: LoggedAccuracy | None,
        validation: Generalization | None,
    ) -> Findings:
        if accuracy is not None and accuracy.guessed is not None:
            yield self._guessing(accuracy, accuracy.guessed)
            return
        if curve.non_finite is not None:
            raise NotApplicable("the loss stopped being finite")
        steps = curve.total_steps
        if len(curve.loss) < FEWEST_EPOCHS and (steps is None or steps < FEWEST_STEPS):
            raise NotApplicable("the run is too short to call its loss stuck")
        if baseline is None:
            yield self._at_chance(curve)
            return
        getting_worse = validation is not None and validation.since_best.rises(SIGNIFICANCE)
        if sizes is not None and sizes.cut_short(baseline.scale) and not getting_worse:
            raise NotApplicable("the weights have not moved far enough to call the loss stuck")
        improvement = 1 - baseline.best
        if improvement < self.improvement:
            best = baseline.floor + baseline.best * baseline.scale
            yield self.finding(
                f"The loss never fell materially below {baseline.value:.4g}, which is what the "
                f"best constant prediction costs: its lowest was {best:.4g}.",
                measurements=[
                    self.measure("improvement", improvement),
                    Measurement(name="loss of the best constant", value=baseline.value),
                ],
                remedies=[learn_by_heart()],
            )

    def _guessing(self, accuracy: LoggedAccuracy, classes: int) -> Finding:
        chance = math.log(classes)
        return self.finding(
            f"After {accuracy.epochs} epochs the loss has not fallen below "
            f"{accuracy.lowest_loss:.4g}, where guessing among {classes} classes costs "
            f"ln {classes} = {chance:.4g}, and the accuracy is that of guessing (at best "
            f"{accuracy.best:.3g}).",
            severity=Severity.WARNING,
            measurements=[Measurement(name="loss ÷ ln C", value=accuracy.lowest_loss / chance)],
            remedies=[record_it("labels, head, gradients and the size of the steps tell why")],
        )

    def _at_chance(self, curve: LossCurve) -> Finding:
        curve.require_known_meaning()
        classes = curve.chance_classes
        if classes is None:
            raise NotApplicable(
                "the loss of the best constant prediction: run with LossDoctor(), which sees the "
                "targets"
            )
        return self.finding(
            f"The loss stays at ln {classes} = {math.log(classes):.4g}, which is what knowing "
            f"nothing costs with {classes} classes: its lowest was {curve.best:.4g}.",
            measurements=[
                self.measure("improvement", max(0.0, 1 - curve.best / math.log(classes)))
            ],
            remedies=[learn_by_heart()],
        )
