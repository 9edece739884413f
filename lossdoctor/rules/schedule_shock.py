from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.rate_change import RateChange, RateChanges
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Measurement, Onset, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.step_size import set_rate
from lossdoctor.rules._rule import Findings, Rule, threshold

TRAINED = 0.5


@dataclass(frozen=True, kw_only=True)
class ScheduleShock(Rule):
    """The loss jumps where the learning rate rises, or where a run is resumed.

    **What it detects.** A loss that is much higher in the epochs after the learning rate rose than
    in those before; and a trained model that gets worse in the first epoch of a new run, because
    its optimizer began anew.

    **Why it matters.** What was learned until then is thrown away. An optimizer without its
    moments takes the first steps at full size, in a place where small ones are needed.

    **How it is measured.** Five epochs before and after each rise of the rate by a factor of two
    or more; the loss of the first recorded step against the rest of its epoch.

    **How to fix it.** Go on at the rate that worked; raise it slowly (warm-up); resume from
    `keras.models.load_model`, which restores the optimizer as well.

    **When it is wrong.** Warm restarts raise the loss for some epochs on purpose and come down
    below where they were; those that do so within the five epochs are not flagged.

    **References.** Loshchilov and Hutter, SGDR (2017). Goyal et al., Accurate, Large Minibatch
    SGD (2017), on warm-up.
    """

    title = "The loss jumps with the schedule"
    severity = Severity.WARNING
    stage = Stage.STEP_SIZE
    explains = (UNSTABLE | STUCK) - {"schedule_shock", "high_initial_loss", "low_learning_rate"}

    jump: float = threshold(
        0.1,
        fires="above",
        unit="of a constant prediction's loss",
        source="twice what the tutorial's healthy set-ups move between epochs",
    )
    factor: float = threshold(
        1.5,
        fires="above",
        unit="times the loss before",
        source="as for diverging_loss",
    )

    def check(
        self, changes: RateChanges, curve: LossCurve, scale: LossScale, setup: Setup | None
    ) -> Findings:
        for change in changes.changes:
            jump = (change.after - change.before) / scale.value
            if jump > self.jump and change.after > self.factor * change.before:
                lost = math.isinf(change.after) and curve.non_finite is not None
                yield self.finding(
                    f"In epoch {change.at.epoch + 1:,} the learning rate rises from "
                    f"{change.old_rate:g} to {change.new_rate:g}, and the loss "
                    + (
                        "stops being finite."
                        if lost
                        else f"from {change.before:.4g} to {change.after:.4g}."
                    ),
                    severity=Severity.ERROR if lost else Severity.WARNING,
                    measurements=[
                        self.measure("jump", jump),
                        Measurement(name="new rate", value=change.new_rate),
                    ],
                    onset=Onset(epoch=change.at.epoch),
                    remedies=[_keep_rate(change, setup)],
                )
                return
        start, peak = changes.resumed_at, changes.resumed_peak
        if start is None or peak is None or start > TRAINED * scale.value:
            return
        jump = (peak - start) / scale.value
        if jump > self.jump and peak > self.factor * start:
            yield self.finding(
                f"The model comes trained (its first loss is {start:.4g}), but its optimizer "
                f"begins anew, and the first epoch drives the loss to {peak:.4g}.",
                measurements=[self.measure("jump", jump)],
                onset=Onset(epoch=0, step=1),
                remedies=[_RESUME],
            )


def _keep_rate(change: RateChange, setup: Setup | None) -> Remedy:
    return Remedy(
        text=f"Stay at {change.old_rate:g}, the rate that worked until then.",
        code=set_rate(setup, change.old_rate) if setup else "",
    )


_RESUME = Remedy(
    text="Resume with the optimizer's state (model.save and keras.models.load_model keep it, "
    "save_weights does not), or warm up from a tenth of the rate.",
    code="model.optimizer.learning_rate = 0.1 * float(model.optimizer.learning_rate)",
)
