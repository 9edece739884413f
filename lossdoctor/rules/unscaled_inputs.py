from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.input_scale import InputScale, ScaledInput
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.data import scale_inputs
from lossdoctor.rules._rule import Findings, Rule, threshold

_MEASURED = "measured with 50 relu units on four tasks under SGD and Adam, 60 epochs: "


@dataclass(frozen=True, kw_only=True)
class UnscaledInputs(Rule):
    """The inputs are far from the scale the initial weights are made for.

    **What it detects.** Inputs that are large, tiny, far off center or uneven in scale where the
    first layer of weights meets them, or outside the range an augmentation is set for.

    **Why it matters.** Initializers assume inputs around 1. The gradient of the first kernel grows
    with the inputs and its curvature with their square, so SGD overshoots, tanh and sigmoid
    saturate, relu units die, and no learning rate suits large and small features at once.

    **How it is measured.** From the mean and standard deviation of every feature, after `Rescaling`
    layers: root mean square of all entries, mean ÷ spread, and the largest feature's scale ÷ that
    at the lower quartile (scale = root mean square of the non-zero entries, so that rare features
    do not count as small). Under SGD also learning rate × E‖x‖² against the stable step.

    **How to fix it.** Standardize by the training rows' mean and standard deviation; pixels ÷ 255.

    **When it is wrong.** When the inputs only look raw: a model that rescales in a `Lambda` or
    custom layer is left alone, and so are ids, one-hot columns, pretrained bodies, and the size of
    what a linear head alone reads under Adam. A run that learned anyway (and whose loss ends below
    a constant answer's), or a normalization that divides the scale out again, makes it INFO.

    **References.** LeCun, Bottou, Orr and Müller, Efficient BackProp (1998), section 4.3.
    """

    title = "Unscaled inputs"
    severity = Severity.WARNING
    stage = Stage.DATA
    explains = UNSTABLE | STUCK | {"train_inference_gap"}

    root_mean_square: float = threshold(
        10.0,
        fires="above",
        unit="standard units",
        source=_MEASURED + "at 3 nothing is lost, at 10 regression becomes NaN under SGD and loses "
        "most of its R² under Adam, at 30 to 100 classification follows",
    )
    smallest_scale: float = threshold(
        0.01,
        fires="below",
        unit="standard units",
        source=_MEASURED + "at 0.03 and below SGD learns next to nothing, at 0.01 Adam is slowed",
    )
    offset: float = threshold(
        10.0,
        fires="above",
        unit="mean ÷ spread",
        source=_MEASURED + "at 3 R² and accuracy suffer, at 10 every one of them fails",
    )
    unevenness: float = threshold(
        100.0,
        fires="above",
        unit="largest ÷ lower-quartile feature scale",
        source=_MEASURED + "a feature 100 times smaller than the rest counts as absent",
    )
    curvature_step: float = threshold(
        1000.0,
        fires="above",
        unit="× the stable step",
        source=_MEASURED
        + "regression is NaN above 3, classification stands 200 and fails at 2,500",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors was not stopped by its inputs",
    )

    def check(self, scale: InputScale, outcome: TrainingOutcome | None) -> Findings:
        judged = [scaled for scaled in scale.inputs if scaled.exempt is None]
        if not judged:
            raise NotApplicable(
                "; ".join(f"{s.summary.name or 'x'}: {s.exempt}" for s in scale.inputs)
            )
        for scaled in judged:
            faults = list(self._faults(scaled))
            if faults:
                text = " and ".join(sentence for sentence, _ in faults)
                severity, sentence = self._severity(scaled, faults, outcome)
                where = f" where '{scaled.reader.name}' reads them" if scaled.reader else ""
                where += "; a normalization was never adapted" if scaled.unadapted else ""
                yield self.finding(
                    f"The inputs {text}{where}.{sentence}",
                    severity=severity,
                    title="Augmentation for another range of values" if scaled.misset else None,
                    measurements=[measured for _, measured in faults],
                    layers=[scaled.reader.name] if scaled.reader else [],
                    remedies=scale_inputs(scaled, scale.setup),
                )

    def _faults(self, scaled: ScaledInput) -> Iterator[tuple[str, Measurement]]:
        if (misset := scaled.misset) is not None:
            text = f"reach {misset.reached:.3g}, and '{misset.layer.name}' augments values up to "
            yield f"{text}{misset.expected:g}", Measurement(name="range", value=misset.expected)
        if scaled.rms > self.root_mean_square and not scaled.size_is_harmless:
            text = (
                f"reach {scaled.summary.abs_max:,.4g} (root mean square {scaled.rms:,.3g}; the "
                "initial weights are made for about 1)"
            )
            yield text, self.measure("root_mean_square", scaled.rms)
        if 0 < scaled.largest_scale < self.smallest_scale:
            text = f"are no larger than about {scaled.largest_scale:.2g}"
            yield text, self.measure("smallest_scale", scaled.largest_scale)
        if scaled.varies and scaled.offset > self.offset:
            text = f"lie {scaled.offset:,.3g} times their spread away from zero"
            yield text, self.measure("offset", scaled.offset)
        if scaled.unevenness > self.unevenness:
            text = (
                f"differ in scale by {scaled.unevenness:,.3g} (feature {scaled.largest_name} is "
                f"the largest, around {scaled.largest_scale:,.3g})"
            )
            yield text, self.measure("unevenness", scaled.unevenness)

    def _severity(
        self,
        scaled: ScaledInput,
        faults: list[tuple[str, Measurement]],
        outcome: TrainingOutcome | None,
    ) -> tuple[Severity, str]:
        sound = outcome is not None and not outcome.dearer_than_constant
        if outcome is not None and sound and outcome.share >= self.learned:
            return Severity.INFO, f" This run learned all the same: {outcome.sentence}."
        even = scaled.offset <= self.offset and scaled.unevenness <= self.unevenness
        if scaled.absorbed and even:
            return Severity.INFO, " The normalization behind it divides that out again."
        step = scaled.curvature_step
        if step is None or step <= self.curvature_step:
            return Severity.WARNING, ""
        faults.append(("", self.measure("curvature_step", step)))
        return Severity.ERROR, f" SGD's first steps are {step:,.0f} times too large for that."
