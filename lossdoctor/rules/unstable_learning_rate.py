from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.evidence.rehearsal import RehearsedTraining
from lossdoctor.finding import Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.step_size import calm_rate
from lossdoctor.rules._rule import Findings, Rule, threshold

DOUBLED = 1.0


@dataclass(frozen=True, kw_only=True)
class UnstableLearningRate(Rule):
    """The training will diverge at this learning rate: its first steps, rehearsed, do.

    **What it detects.** Before training, a learning rate at which the loss will stop being finite,
    or stay above where it began and above what a constant prediction would cost.

    **Why it matters.** Each step overshoots and makes the next one larger. Found after an hour of
    training, the same fault costs the hour.

    **How it is measured.** At most 64 optimizer steps (or 2 seconds) are taken on copies of the
    weights, on batches of x and y in a seeded order; the loss of their second half is held against
    the higher of the initial loss and the best constant's, in units of what there is to learn. On
    300 random set-ups not tuned on (`tests/benchmarks/rehearsal.py`, seed 4) that agreed with the
    outcome after five epochs in 96.3 %: 3 of 61 divergences missed, 8 of 239 others flagged (two of
    the 121 that learned). An earlier criterion had agreed in 98.7 % on seed 3, but flagged batches
    that are merely harder than others.

    **How to fix it.** Half the largest rate that stayed calm, found by rehearsing at lower ones;
    of 56 such rates all trained and none diverged. λmax of the loss (power iteration on
    Hessian-vector products, preconditioned for Adam, RMSprop and Adagrad) says how far steps
    overshoot; its limit agreed with the calm rate to a factor of 10 in 81 % only, so it explains
    and does not decide.

    **When it is wrong.** A loss that rises and calms down within the rehearsal is left alone; one
    that takes longer looks like divergence, and one that breaks after it is missed. Of a warm-up
    the peak is rehearsed, after a short climb. Unscaled data stand above it as the cause.

    **References.** Cohen et al., Gradient Descent on Neural Networks Typically Occurs at the Edge
    of Stability (2021); Cohen et al., Adaptive Gradient Methods at the Edge of Stability (2022).
    """

    title = "Learning rate will be unstable"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = (UNSTABLE | STUCK) - {
        "high_initial_loss",
        "low_learning_rate",
        "unstable_learning_rate",
    }

    rise: float = threshold(
        0.1,
        fires="above",
        unit="of what there is to learn",
        source="385 random set-ups (seeds 1 and 2): 97.7 % agree with the outcome, 97.1 % at 0.2; "
        "what learns nothing ends on either side of 0 by up to 0.07",
    )

    def check(self, rehearsed: RehearsedTraining) -> Findings:
        if rehearsed.rise <= self.rise:
            return
        yield self.finding(
            f"At a learning rate of {rehearsed.rate:g} {_course(rehearsed)}.",
            severity=Severity.ERROR if rehearsed.rise > DOUBLED else Severity.WARNING,
            measurements=[self.measure("rise", rehearsed.rise), *_context(rehearsed)],
            remedies=[calm_rate(rehearsed)],
        )


def _course(rehearsed: RehearsedTraining) -> str:
    steps = len(rehearsed.losses)
    if math.isinf(rehearsed.rise):
        return f"the loss stops being finite at rehearsed step {steps}"
    return (
        f"the loss stands at {rehearsed.late:.3g} after {steps} rehearsed steps, above the "
        f"{rehearsed.reference:.3g} of knowing nothing"
    )


def _context(rehearsed: RehearsedTraining) -> list[Measurement]:
    numbers = {
        "largest calm rate": rehearsed.calm_rate,
        "sharpness": rehearsed.sharpness,
        "secant curvature": rehearsed.secant,
        "largest stable rate by curvature": rehearsed.curvature_rate,
    }
    return [Measurement(name=name, value=value) for name, value in numbers.items() if value]
