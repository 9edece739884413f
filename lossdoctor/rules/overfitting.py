from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Onset, Severity, Stage
from lossdoctor.rules._remedies.regularization import against_overfitting
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
FEWEST_ROWS = 50
LEARNED = 0.7


@dataclass(frozen=True, kw_only=True)
class Overfitting(Rule):
    """The model learns its training examples by heart instead of the task.

    **What it detects.** A validation loss that has risen persistently from its lowest value, or
    stands far above the training loss, while the training loss is low and the validation metric is
    worse than it was or than the training metric.

    **Why it matters.** Every further epoch makes predictions on new data worse, although the
    training loss looks better all the time.

    **How it is measured.** The typical validation loss of the last epochs against the lowest of
    any stretch as long, with a Mann-Kendall trend in between (p < 0.01) and a rise beyond twice
    the jumps from epoch to epoch. The metric counts where one was logged, with two standard errors
    of an accuracy over that many validation examples.

    **How to fix it.** Stop at the best epoch and keep its weights; then more data or augmentation,
    dropout and weight decay, or fewer units.

    **When it is wrong.** A validation set that differs from the training set, or batch statistics
    that do, also open a gap: those rules explain this one. The loss of fewer than 50 validation
    examples cannot tell without a metric that falls beyond its standard errors. A metric that
    holds while the loss rises is `overconfidence`.

    **References.** Prechelt, Early Stopping - But When? (1998). Srivastava et al., Dropout (2014).
    """

    title = "Overfitting"
    severity = Severity.WARNING
    stage = Stage.BUDGET

    rise: float = threshold(
        0.05,
        fires="above",
        unit="of a constant prediction's loss",
        source="the tutorial's healthy set-ups over six seeds stay below 0.01; of 194 random MLPs "
        "that learned their task 23 rise more, all with a validation score far below training's",
    )
    gap: float = threshold(
        0.4,
        fires="above",
        unit="of a constant prediction's loss",
        source="the tutorial's set-ups with 30 instead of 500 rows reach 0.5 to 2.3, healthy ones "
        "at most 0.05",
    )
    metric_gap: float = threshold(
        0.1,
        fires="above",
        unit="",
        source="AUTOTRAINER, DEFault: training minus validation accuracy",
    )

    def check(
        self,
        curves: Generalization,
        scale: LossScale,
        curve: LossCurve,
        setup: Setup | None,
    ) -> Findings:
        if curve.unknown_meaning:
            raise NotApplicable(curve.unknown_meaning)
        worse = curves.metric_worse(self.metric_gap)
        if curves.rows is not None and curves.rows < FEWEST_ROWS and not worse:
            raise NotApplicable(f"{curves.rows} validation examples are too few to tell")
        rise, gap = curves.rise / scale.value, curves.gap / scale.value
        risen = rise > self.rise and curves.has_risen(SIGNIFICANCE)
        learned = curves.train_end / scale.value < LEARNED
        if not (learned and (risen or gap > self.gap)) or worse is False:
            return
        measurements = [self.measure("rise", rise), self.measure("gap", gap)]
        if curves.metric is not None and curves.metric.sign > 0:
            measurements.append(self.measure("metric_gap", curves.metric_gap or 0.0))
        yield self.finding(
            f"The validation loss ends at {curves.end:.4g} against a training loss of "
            f"{curves.train_end:.4g}; its best was {curves.best:.4g} in epoch "
            f"{curves.best_epoch + 1:,}.",
            measurements=measurements,
            onset=Onset(epoch=curves.best_epoch),
            remedies=against_overfitting(curves, setup),
        )
