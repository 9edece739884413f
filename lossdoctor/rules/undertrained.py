from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale, gain_ahead
from lossdoctor.evidence.generalization import Generalization
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.simple_models import SimpleModels
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.budget import longer, train_longer
from lossdoctor.rules._remedies.step_size import raise_rate
from lossdoctor.rules._rule import Findings, Rule, threshold

SIGNIFICANCE = 0.01
LEARNED = 0.9
UNTRAINED = 0.9
HARDLY_TRAINED, HALF_TRAINED = 0.75, 0.5
MOSTLY, LEFT = 0.75, 0.6
NEARLY_DOWN = 0.3
SHORTFALL = 0.25
HARDLY_MOVED = 0.12
A_FEW_STEPS = 30
"""However large they were: a run of a few dozen steps has only shown where the gradient points."""


@dataclass(frozen=True, kw_only=True)
class Undertrained(Rule):
    """Training ended while the loss was still on its way down.

    **What it detects.** A run whose training and validation loss were still falling at a material
    slope at its last epoch, or that moved the weights too little for anything, or for what simple
    models find, to be learned.

    **Why it matters.** The model is worse than the same program would make it by running longer;
    judging its architecture, data or rate at that point judges the wrong thing.

    **How it is measured.** By the Theil-Sen slope of the second half of the run (Mann-Kendall
    p < 0.01; of single steps in a run of less than eight epochs): what half as many epochs again
    would gain, as a share of the distance from a constant prediction's loss to the floor.

    **How to fix it.** More epochs; EarlyStopping with a validation set can end them in time. A
    higher rate first where those would not move the weights by their own size either.

    **When it is wrong.** A loss that creeps on forever (a separable problem under cross-entropy)
    gains less than the threshold, and a model that already makes no errors is left alone. A run
    that has learned three quarters of the task, or whose loss is nearly down, and still gains is
    worth knowing (INFO): of 11 drawn set-ups without a fault that stood out, the five that train
    well had learned 80 to 88 %, with at most 51 % of a constant prediction's loss left; runs cut
    short by a fault had 77 % left. Where the steps are vanishingly small, a higher rate is the
    better cure: `low_learning_rate` explains this finding.

    **References.** Prechelt, Early Stopping - But When? (1998).
    """

    title = "Stopped before the loss had come down"
    severity = Severity.WARNING
    stage = Stage.BUDGET
    explains = frozenset({"underfitting"})

    gain: float = threshold(
        0.08,
        fires="above",
        unit="of a constant prediction's loss by half as many epochs again",
        source="1,428 runs of random MLPs: of 194 at a usual rate that learned their task 2 gain "
        "more, whereas the tutorial's regression after 2 of 100 epochs gains 0.09 to 0.3",
    )
    early_gain: float = threshold(
        0.04,
        fires="above",
        unit="of that, where three quarters of it are left",
        source="reasoning: a loss that has hardly begun to fall is not near its floor; a digit "
        "network at a twentieth of its rate keeps 0.86 after six epochs and gains 0.075",
    )
    travel: float = threshold(
        1.0,
        fires="below",
        unit="times their own size that the weights were moved in all",
        source="reasoning: fresh weights must be replaced; 1,428 runs of random MLPs: nine in ten "
        "of those that learned their task move further than 1.2",
    )

    def check(
        self,
        curve: LossCurve,
        scale: LossScale,
        setup: Setup | None,
        sizes: StepSize | None,
        validation: Generalization | None,
        outcome: TrainingOutcome | None,
        simple: SimpleModels | None,
    ) -> Findings:
        if curve.non_finite is not None:
            raise NotApplicable("the loss stopped being finite")
        if setup and setup.has_callback("EarlyStopping"):
            raise NotApplicable("EarlyStopping decided when to end the run")
        if setup and setup.fit.epochs and len(curve.loss) < setup.fit.epochs:
            raise NotApplicable("the run was stopped before its last epoch")
        if outcome is not None and outcome.share >= LEARNED:
            return
        if validation is not None and validation.since_best.rises(SIGNIFICANCE):
            return
        gain = gain_ahead(curve, scale.value, scale.end)
        cut_short = sizes is not None and sizes.cut_short(scale.value, self.travel)
        # A longer run shows by its trend whether the loss was still on its way down.
        high = scale.end > (UNTRAINED if curve.shows_trend else HALF_TRAINED)
        behind = simple and outcome and simple.signal - outcome.share > SHORTFALL
        still = sizes is not None and sizes.travel < HARDLY_MOVED
        begun = curve.total_steps is not None and curve.total_steps < A_FEW_STEPS
        short = (begun and high) or (cut_short and (high or (behind and still)))
        gaining = "gain" if scale.end < HARDLY_TRAINED else "early_gain"
        if not short and not (curve.tail.falls(SIGNIFICANCE) and gain > getattr(self, gaining)):
            return
        epochs = len(curve.loss)
        message = (
            f"Training ended after {curve.total_steps or 0:,} steps, with the loss still "
            f"{scale.place}."
            if short
            else f"When training ended after {epochs:,} epochs the loss was falling so fast that "
            f"half as many again would gain {gain:.0%} {scale.unit}."
        )
        measurements = [self.measure(gaining, gain)]
        if short and sizes is not None:
            measurements.append(self.measure("travel", sizes.travel))
        # Under weights the share of errors does not say what was learned.
        weighted = setup is not None and (setup.fit.class_weight or setup.fit.sample_weight)
        learned = weighted or (outcome is not None and outcome.share >= MOSTLY)
        mostly = scale.end < (LEFT if learned else NEARLY_DOWN)
        remedies = [train_longer(curve), *_faster(setup, sizes)]
        if short and sizes is not None and sizes.travel * longer(curve) / epochs < self.travel:
            remedies.reverse()
        yield self.finding(
            message,
            severity=Severity.INFO if mostly else None,
            measurements=[*measurements, Measurement(name="remaining", value=scale.end)],
            remedies=remedies,
        )


def _faster(setup: Setup | None, sizes: StepSize | None) -> list[Remedy]:
    """A higher rate, where the first step was a small share of the weights."""
    if setup is None or sizes is None or sizes.raise_rate().basis != "update":
        return []
    return [raise_rate(setup, sizes.raise_rate(), sizes.present_rate)]
