from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.probed import Signal
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.evidence.validation_outcome import ValidationOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._rule import Findings, Rule, threshold

_FEWEST_ROWS, _MANY_ROWS = 100, 200
_FEWEST_MINORITY = 40
_TRIED = 1.0  # how far, in units of its own size, a network's weights moved in a fair attempt
_LEARNED = 0.9


@dataclass(frozen=True, kw_only=True)
class UninformativeInputs(Rule):
    """No simple model finds anything in the inputs that tells about the targets.

    **What it detects.** Data on which simple models do no better, on rows they have not seen, than
    a constant answer, and on which the network predicts no validation rows either.

    **Why it matters.** Then there is nothing to learn, or inputs and targets no longer belong
    together: shuffled apart, joined by the wrong key, sorted differently. A network can still
    learn the training rows by heart, which looks like overfitting.

    **How it is measured.** Four-fold out-of-fold R² on at most 512 rows, on one-hot columns for
    classes, so that a shift of probabilities counts even where the answer stays the same. Tables
    go to a linear model, nearest neighbors and a forest; images and sequences also to a linear
    model on random convolutions pooled over all positions, ids on how often each occurs.

    **How to fix it.** Check row by row that inputs and targets belong together before they are
    shuffled or split; then look for better inputs.

    **When it is wrong.** Parity and other patterns without any local or linear trace (discrete
    inputs are left out for that reason), signals below 1 % of the variance, and orders that only
    a recurrent network follows. A model that predicts validation rows proves the rule wrong; where
    there are none, images, sequences and ids learned by heart are given the benefit of the doubt.

    **References.** Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009),
    chapter 7.
    """

    title = "Inputs without signal"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = STUCK | {"high_learning_rate", "label_noise", "overconfidence", "overfitting"}

    signal: float = threshold(
        0.01,
        fires="below",
        unit="R² out of fold",
        source="measured on 200 to 1,000 rows of pure noise: 0.006 at most in 45 draws; below 200 "
        "rows the limit is 0, which no signal of R² 0.4 and one in seven of 0.2 fell below",
    )
    pooled_signal: float = threshold(
        0.04,
        fires="below",
        unit="R² out of fold, of images, sequences and ids",
        source="measured on 200 to 512 rows: labels drawn by lot 0.03 at most in 90 draws; what a "
        "network can learn of stripes, shapes, digits, sensors and positions 0.5 to 0.99",
    )
    validation: float = threshold(
        0.3,
        fires="below",
        unit="share of what can be learned, on validation rows",
        source="answers that are arbitrary but alike for whole clusters removed a tenth by luck",
    )

    def check(
        self,
        signal: Signal,
        outcome: ValidationOutcome | None,
        training: TrainingOutcome | None,
        sizes: StepSize | None,
    ) -> Findings:
        if signal.rows < _FEWEST_ROWS or signal.minority < _FEWEST_MINORITY:
            raise NotApplicable("there are too few examples to rule a signal out")
        if signal.discrete:
            raise NotApplicable("discrete patterns can hide a rule from simple models")
        judged = outcome or (training if signal.flat else None)
        learned = judged is not None and judged.share >= self.validation
        if signal.ordered and outcome is None and training is None:
            raise NotApplicable("of sequences and ids simple models alone say nothing")
        if signal.flat and (judged is None or sizes is None or sizes.travel < _TRIED):
            raise NotApplicable("of images and sequences simple models alone say nothing")
        if signal.pooled and outcome is None and training and training.share >= _LEARNED:
            raise NotApplicable("the model learned its rows, and none are held out to test it")
        name = "pooled_signal" if signal.pooled else "signal"
        # In few rows simple models miss weak signals, too: then not even a lucky fold may be left.
        limit = getattr(self, name) if signal.rows >= _MANY_ROWS and not signal.flat else 0.0
        if signal.r2 < limit and not learned:
            yield self.finding(
                f"Inputs and targets look unrelated: {_models(signal)} predict unseen rows no "
                f"better than a constant (R² {signal.r2:.3f} on {signal.rows} rows).",
                measurements=[self.measure(name, signal.r2)],
                remedies=[_look_at_pairs()],
            )


def _models(signal: Signal) -> str:
    if signal.pooled:
        return "a linear model and nearest neighbors, also on features pooled over positions,"
    return (
        f"a linear model, nearest neighbors and {'this network' if signal.flat else 'a forest all'}"
    )


def _look_at_pairs() -> Remedy:
    return Remedy(
        text="Print a few rows of X and y and check by hand that they belong together; look for a "
        "shuffle, sort, join, reshape or augmentation that touched only one of them. No model, "
        "rate or number of epochs can find what is not there."
    )
