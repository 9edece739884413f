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

    **What it detects.** Before training, a learning rate at which the loss will leave the range
    where anything is learned: it becomes infinite, or settles above where it began.

    **Why it matters.** Found after an hour of training, the same fault costs the hour.

    **How it is measured.** TODO

    **How to fix it.** TODO

    **When it is wrong.** TODO

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
        source="TODO measured",
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
