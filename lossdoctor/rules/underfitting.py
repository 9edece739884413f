from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.simple_models import SimpleModels
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._remedies.architecture import listed
from lossdoctor.rules._remedies.capacity import larger_model
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
LEARNED = 0.9
STILL_GAINING = 0.08

_CONNECT = Remedy(
    text="Connect the input that no layer reads to an output: check which names are handed on "
    "where the branches meet."
)
_LOOK_AT_AXES = Remedy(
    text="Or the axes are mixed up: where X was brought into its shape by reshape and transpose "
    "was meant, neighbors in a row or in time are none. Plot one row.",
    code="print(np.asarray(X)[0])",
)


@dataclass(frozen=True, kw_only=True)
class Underfitting(Rule):
    """The model fits its own training data worse than a simple model predicts unseen rows.

    **What it detects.** A run that has come to rest with a fit far below what a ridge regression,
    nearest neighbors or a small forest reach out of fold on the same rows.

    **Why it matters.** The signal is in the inputs, and this model does not take it up: it is too
    small, too strongly regularized, or its optimization got stuck.

    **How it is measured.** The share of what can be learned that the model has learned on its
    training rows (1 - errors ÷ errors of the most frequent class, or R²), against the best
    out-of-fold R² of the three simple models on a sample of those rows, or 1 where the inputs are
    a truth table: most of their patterns, none with two answers. And by the slope of the loss, so
    that a run that was merely cut short does not count: one whose validation loss rises beyond a
    constant prediction's meanwhile was not.

    **How to fix it.** More units or another hidden layer, relu, less regularization; where another
    finding explains this one, its remedy first.

    **When it is wrong.** R² on class indicators is stricter than an error rate, so the comparison
    is on the safe side for classes. Images and sequences are flattened for the simple models: what
    these do not find there says nothing.

    **References.** Goodfellow et al., Deep Learning (2016), sections 5.2 and 11.4.1.
    """

    title = "Underfitting"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE

    shortfall: float = threshold(
        0.25,
        fires="above",
        unit="of what can be learned",
        source="measured: the tutorial's healthy set-ups fall short by at most 0.1, one hidden "
        "unit for ten classes by 0.6",
    )

    signal: float = threshold(
        0.1,
        fires="above",
        unit="of the variance explained by a simple model, of which the run learned less than half",
        source="three standard errors of an R² out of fold on 512 rows",
    )

    def check(
        self,
        outcome: TrainingOutcome,
        simple: SimpleModels,
        curve: LossCurve,
        scale: LossScale | None,
        setup: Setup,
        validation: Generalization | None,
    ) -> Findings:
        if curve.non_finite is not None:
            raise NotApplicable("the loss stopped being finite")
        if (setup.fit.class_weight or setup.fit.sample_weight) and (
            outcome.measured_by == "error_rate"
        ):
            raise NotApplicable("weights trade the frequent class's errors for the rare one's")
        share = outcome.share
        if outcome.measured_by == "r2" and scale and scale.from_baseline:
            # A loss that heeds far values little may be low where R², which they make up, is not.
            share = max(share, 1 - scale.end)
        shortfall = simple.signal - share
        # An error rate may stay where it is although a weak signal has been learned.
        half = outcome.measured_by != "error_rate" and share < simple.signal / 2
        weak = half and simple.signal >= self.signal
        if not (shortfall > self.shortfall or weak) or share >= LEARNED:
            return
        gain = curve.gain_ahead / scale.value if scale else 0.0
        falling = gain > STILL_GAINING and curve.tail.falls(SIGNIFICANCE)
        if falling and not _by_heart(validation, scale):
            return
        unread = setup.unread_inputs
        yield self.finding(
            f"On its own training rows the model has learned {max(share, 0):.0%} of what "
            f"can be learned, {_what_can_be(simple)}."
            + (f" No layer reads {listed(unread)}." if unread else ""),
            measurements=[
                self.measure("shortfall", shortfall)
                if shortfall > self.shortfall
                else self.measure("signal", simple.signal)
            ],
            remedies=[
                *([_CONNECT] if unread else []),
                *([_WITHOUT_AUGMENTATION] if setup.augments else []),
                *larger_model(setup),
                *([_LOOK_AT_AXES] if simple.of_errors else []),
            ],
        )


_WITHOUT_AUGMENTATION = Remedy(
    text="Train once without the augmentation: what it turns, mirrors or shifts may change the "
    "answer (an arrow, a digit) or drown it."
)


def _what_can_be(simple: SimpleModels) -> str:
    if simple.truth_table:
        return "which is all: no pattern of the inputs comes with two answers"
    if simple.of_errors:
        return (
            f"while a simple model of the flattened rows avoids {simple.signal:.0%} of the errors"
        )
    return f"while a simple model explains {simple.signal:.0%} of the variance of unseen rows"


def _by_heart(validation: Generalization | None, scale: LossScale | None) -> bool:
    """Whether what the training loss still gains holds for no other rows."""
    if validation is None or scale is None:
        return False
    return validation.since_best.rises(SIGNIFICANCE) and validation.end > scale.value
