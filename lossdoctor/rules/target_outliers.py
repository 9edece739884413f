from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.outliers import HeavyTail
from lossdoctor.evidence.outliers import TargetOutliers as Tails
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.code import compile_code, loss_object
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class TargetOutliers(Rule):
    """A few targets far from the rest decide a squared loss.

    **What it detects.** Continuous targets under mean squared error whose standard deviation is
    made by a few values more than ten robust standard deviations away.

    **Why it matters.** Squared error weighs a target a hundred times farther away ten thousand
    times as much. The fit then serves those few, the loss jumps with every batch that holds one,
    and SGD takes steps the others cannot bear.

    **How it is measured.** Standard deviation ÷ the one the quartiles tell of, and the share of
    targets beyond ten of the latter.

    **How to fix it.** Huber loss with the robust spread as its delta; or correct what is wrong.

    **When it is wrong.** Prices and counts have long tails of their own: up to a few times the
    robust spread is left alone, and a logarithm serves them better. Logarithmic losses are not
    judged. A run that fits its targets anyway makes it INFO.

    **References.** Huber, Robust estimation of a location parameter (1964).
    """

    title = "Outliers among the targets"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = UNSTABLE | STUCK | {"unscaled_targets", "validation_shift"}

    inflation: float = threshold(
        5.0,
        fires="above",
        unit="× the spread by quartiles",
        source="a log-normal with σ = 1, as prices have, gives 1.9, with σ = 1.5 it gives 5",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that explains three quarters of the variance explains the outliers, too",
    )

    def check(self, tails: Tails, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        for tail in tails.targets:
            if tail.inflation > self.inflation and tail.far > 0:
                yield self.finding(
                    f"{tail.far:.2%} of the targets of {tail.head.label} lie more than 10 robust "
                    f"standard deviations from the median (up to {tail.summary.abs_max:,.4g}, "
                    f"typically {tail.center:,.3g} ± {tail.spread:,.2g}) and make the standard "
                    f"deviation {tail.inflation:,.3g} times larger.",
                    severity=Severity.INFO if learned else None,
                    measurements=[self.measure("inflation", tail.inflation)],
                    layers=tail.head.layer_names,
                    remedies=_remedies(tail, tails),
                )


def _remedies(tail: HeavyTail, tails: Tails) -> list[Remedy]:
    huber = Remedy(
        text=f"Train with Huber loss, delta = {tail.spread:.3g}: quadratic for usual targets, "
        "linear beyond, so that every example counts but none decides. This keeps rows that may "
        "be right.",
        code=compile_code(tails.setup, loss=loss_object("huber", delta=float(tail.spread))),
    )
    drop = Remedy(
        text="Or, if they are errors of measurement, leave them out.",
        code=f"keep = np.abs(np.ravel(y) - {tail.center:.6g}) <= {10 * tail.spread:.6g}\n"
        "X, y = np.asarray(X)[keep], np.asarray(y)[keep]",
    )
    return [huber, drop] if len(tails.setup.losses) == 1 else [drop]
