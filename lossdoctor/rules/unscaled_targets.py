from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.target_scale import ScaledTarget, TargetScale
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.data import scale_targets
from lossdoctor.rules._rule import Findings, Rule, threshold

_MEASURED = "measured with relu networks of 1 and 2 hidden layers on two regressions, 60 epochs: "
_LARGE = 5.0
_HUGE = 100.0
_OFF_CENTER = 8.0
_SHORTEST_TRAVEL = 0.3
_HOPELESS = 6.0
_STANDSTILL = 0.03  # travel of a weight that not even targets around 0 ± 1 can be learned with


@dataclass(frozen=True, kw_only=True)
class UnscaledTargets(Rule):
    """The regression targets are far from the scale a new head puts out.

    **What it detects.** Targets of a regression whose size, distance from zero or narrowness the
    head cannot meet from its start around 0 ± 1 with the steps this run takes.

    **Why it matters.** Under squared error the gradient grows with the target: SGD takes steps that
    kill units or diverge. Steps that do not grow (Adam, clipping, absolute error) stay safe but may
    never get there. Targets that hardly vary drown in the head's own initial noise.

    **How it is measured.** Where steps grow with the error: learning rate × target scale ÷
    (1 - momentum). Where they do not: the targets' mean and spread ÷ the way a weight can travel in
    the whole run (rate × steps), and after the run whether its mean prediction got to their mean.
    Spread by quartiles where a few far values make up the rest.

    **How to fix it.** Standardize the targets; turn predictions back with the same two numbers.

    **When it is wrong.** Where the head rescales (a `Rescaling` layer, a bias that starts at the
    mean) the rule is silent; so it is under logarithmic and relative losses. A run that fits its
    targets anyway makes it INFO, unless it ended while its loss was still on the way down to them.

    **References.** Bishop, Neural Networks for Pattern Recognition (1995), section 8.2.
    """

    title = "Unscaled targets"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = UNSTABLE | STUCK

    growing_step: float = threshold(
        0.5,
        fires="above",
        unit="learning rate × target scale ÷ (1 - momentum)",
        source=_MEASURED + "harmless up to 0.3, dead units or NaN from 1 on, at any momentum",
    )
    offset_travel: float = threshold(
        2.0,
        fires="above",
        unit="target mean ÷ travel of a weight",
        source=_MEASURED + "for a mean of 10 spreads R² 0.85 at 1, negative from 2 on, under Adam "
        "and absolute error; a mean of 3 spreads is made up for",
    )
    unreached: float = threshold(
        0.5,
        fires="above",
        unit="target spreads between the trained model's mean prediction and the targets' mean",
        source="45 random networks under Adam, RMSprop or MAE: 20 end above 0.9, with R² below "
        "-0.9, where standardized targets give 0.23 to 0.95; 25 end below 0.5, with R² above -0.3",
    )
    spread_travel: float = threshold(
        300.0,
        fires="above",
        unit="target spread ÷ travel of a weight",
        source=_MEASURED + "R² 0.9 at 80, 0.2 at 800 with one hidden layer; two reach further",
    )
    spread: float = threshold(
        0.03,
        fires="below",
        unit="standard deviation",
        source=_MEASURED + "R² far below 0 at 0.01 for every optimizer, about 0.5 at 0.1",
    )
    disparity: float = threshold(
        100.0,
        fires="above",
        unit="widest ÷ narrowest target column",
        source="squared errors then differ by 10,000, so that the narrow column goes unheard",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that explains three quarters of the variance was not stopped by its targets",
    )

    def check(self, scale: TargetScale, outcome: TrainingOutcome | None) -> Findings:
        for target in scale.targets:
            found = list(self._faults(target))
            if not found:
                continue
            text = " and ".join(sentence for sentence, _ in found)
            hopeless = (target.step or 0.0) > _HOPELESS * self.growing_step
            severity = Severity.ERROR if hopeless else Severity.WARNING
            if outcome is not None and (target.travel or 1.0) < _STANDSTILL:
                severity = Severity.INFO
                text += "; with so small steps standardized targets would be out of reach as well"
            unheard = target.disparity > self.disparity and target.worst_r2 < self.learned
            learned = outcome is not None and outcome.share >= self.learned
            if outcome is not None and learned and not outcome.falling and not unheard:
                severity = Severity.INFO
                text += f"; this run learned all the same: {outcome.sentence}"
            yield self.finding(
                f"The targets of {target.head.label} {text}.",
                severity=severity,
                measurements=[measurement for _, measurement in found],
                layers=[target.head.layer.name] if target.head.layer else [],
                remedies=scale_targets(target, scale.setup),
            )

    def _faults(self, target: ScaledTarget) -> list[tuple[str, Measurement]]:
        found = []
        size = f"lie around {target.mean:,.4g} ± {target.spread:,.3g}, a new head around 0 ± 1"
        if target.step is not None and target.scale > _LARGE and target.step > self.growing_step:
            text = f"{size}, and the steps grow with that distance"
            found.append((text, self.measure("growing_step", target.step)))
        # A run too short for standardized targets says nothing about these, unless they are huge.
        judged = (target.travel or 1.0) >= _SHORTEST_TRAVEL or target.scale > _HUGE
        if target.step is None and target.scale > _LARGE and judged:
            travel = target.travel or 1.0
            way = f"{size}, while no weight can move by more than {travel:.2g} in this run"
            offset = abs(target.mean) / travel
            far = abs(target.mean) > _OFF_CENTER * target.spread
            if offset > self.offset_travel and (far or (target.unreached or 0) > self.unreached):
                found.append((way, self.measure("offset_travel", offset)))
                if not far:
                    text = f"the mean prediction ends {target.unreached:.2g} spreads short of them"
                    found.append((text, self.measure("unreached", target.unreached or 0)))
            elif target.spread / travel > self.spread_travel:
                found.append((way, self.measure("spread_travel", target.spread / travel)))
        if not target.summary.integral and 0 < target.spread < self.spread:
            text = f"vary by {target.spread:.2g} only, less than a new head's own noise"
            found.append((text, self.measure("spread", target.spread)))
        if target.disparity > self.disparity:
            text = f"differ in spread by {target.disparity:,.3g} between columns"
            found.append((text, self.measure("disparity", target.disparity)))
        return found
