from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Onset, Remedy, Severity, Stage
from lossdoctor.rules._remedies.code import layer_code
from lossdoctor.rules._rule import Findings, Rule, threshold

LEARNED = 0.5


@dataclass(frozen=True, kw_only=True)
class HighInitialLoss(Rule):
    """The untrained model is far worse than a constant prediction.

    **What it detects.** A first batch whose loss is many times that of knowing nothing.

    **Why it matters.** A fresh model should know nothing, and knowing nothing costs ln C for C
    classes, or as much as the best constant does (the variance of the targets). One that starts far
    above is confidently wrong: its first, largest steps only undo its initial weights.

    **How it is measured.** The loss of the first recorded batch, before any update and without
    recorded penalties, between the floor (0) and the loss of knowing nothing (1).

    **How to fix it.** Scaled inputs and targets, an initializer made for the activation, a small
    last layer whose bias is the mean of the targets.

    **When it is wrong.** A run that learned its task all the same only wasted its first steps:
    then this is INFO.

    **References.** Karpathy, A Recipe for Training Neural Networks (2019): "verify loss @ init".
    """

    title = "High loss before the first step"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = frozenset({"exploding_gradients"})

    excess: float = threshold(
        10.0,
        fires="above",
        unit="times the loss of knowing nothing",
        source="the tutorial's set-ups start at 1 to 2.7, 98 % of 238 random MLPs on 20 tasks "
        "below 6 and 99 % below 11",
    )

    def check(self, baseline: Baseline, setup: Setup, outcome: TrainingOutcome | None) -> Findings:
        if not len(baseline.curve.step_loss) or baseline.curve.step[0] != 0:
            raise NotApplicable("the first step was not recorded, or its loss was not finite")
        if setup.optimizer and setup.optimizer.iterations:
            raise NotApplicable("the model had been trained before")
        first = baseline.curve.first_step_loss
        excess = (first - baseline.floor) / (baseline.uninformed - baseline.floor)
        if excess <= self.excess:
            return
        learned = outcome is not None and outcome.share >= LEARNED
        yield self.finding(
            f"Before its first update the model's loss is {first:.4g}, {excess:,.0f} times the "
            f"{baseline.uninformed:.4g} of a prediction that knows nothing"
            + ("; it learned all the same." if learned else "."),
            severity=Severity.INFO if learned else Severity.WARNING,
            measurements=[
                self.measure("excess", excess),
                Measurement(name="loss of knowing nothing", value=baseline.uninformed),
            ],
            onset=Onset(epoch=0, step=0),
            remedies=[_small_head(setup)],
        )


def _small_head(setup: Setup) -> Remedy:
    head = setup.head_layer()
    if head is None or len(setup.model.outputs) != 1 or not head.kernel:
        return Remedy(text="Start from a small last layer, so that the first predictions are too.")
    return Remedy(
        text=f"Start from a last layer ('{head.name}') a hundred times smaller: the first "
        "predictions are then close to a constant, whatever the layers before it do.",
        code=f"kernel = {layer_code(setup, head.name)}.{head.kernel.name}\n"
        "kernel.assign(0.01 * kernel)",
    )
