from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.label_encoding import Judged, LabelEncoding
from lossdoctor.evidence.output_head import NUMBER_LOSSES, LossFamily
from lossdoctor.evidence.reconstruction import Reconstruction
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.data import scale_both
from lossdoctor.rules._remedies.labels import agree, reaching
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class FinalActivationRange(Rule):
    """The head cannot produce what the targets ask of it.

    **What it detects.** Targets outside the range of the last activation: negative ones under a
    relu, beyond [0, 1] under a sigmoid, beyond [-1, 1] under a tanh, anything but distributions
    under a softmax; a head that cannot reach -1 under a hinge loss; a head that can go below
    zero under Poisson, which takes the logarithm of the prediction.

    **Why it matters.** The best the model can do is to stand at the edge of its range, where a
    sigmoid, tanh or relu has no gradient: units saturate or die and the loss has a floor far
    above zero however long it trains.

    **How it is measured.** Share of target entries outside the activation's range, from the
    distinct values where there are few and from quantiles otherwise.

    **How to fix it.** A linear head for regression, with the targets standardized where they are
    large; a tanh or linear head for hinge; a softplus for Poisson. Where a sigmoid gives back its
    inputs, inputs and targets scaled into its range.

    **When it is wrong.** Targets scaled into the range (images in [0, 1] under a sigmoid, counts
    under a relu) pass. Layers after the activation that scale its output make its range unknown.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.
    """

    title = "Targets out of reach of the final activation"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | UNSTABLE | {"metric_task", "target_outliers", "unscaled_targets"}

    unreachable_share: float = threshold(
        0.01,
        fires="above",
        unit="share of the targets",
        source="Reasoning: a share below one in a hundred is outliers; their error is small change "
        "beside what the other targets allow the model to learn.",
    )

    def check(self, encoding: LabelEncoding, reconstruction: Reconstruction | None) -> Findings:
        known = [judged for judged in encoding.judged if judged.head.range is not None]
        if not known:
            raise NotApplicable("what the last layer can produce is not known")
        for judged in known:
            if not judged.head.single_unit_softmax and not judged.numbers_under_class_loss:
                first = _into_reach(encoding.setup, judged) if reconstruction else ()
                for finding in self._out_of_reach(encoding.setup, judged):
                    yield dataclasses.replace(finding, remedies=(*first, *finding.remedies))

    def _out_of_reach(self, setup: Setup, judged: Judged) -> Findings:
        low, high = judged.head.range or (-math.inf, math.inf)
        labels, family, name = judged.labels, judged.family, judged.head.activation
        if family is LossFamily.HINGE and low > -1:
            yield self._finding(setup, judged, 1.0, "hinge losses push the negative class to -1")
        elif family is LossFamily.POISSON and low < 0:
            yield self._finding(setup, judged, 1.0, "Poisson takes the logarithm, NaN below zero")
        elif family not in NUMBER_LOSSES or judged.classes_under_number_loss:
            return
        elif judged.head.is_softmax and not labels.may_be_rows:
            yield self._finding(setup, judged, 1.0, "its outputs sum to 1 and the targets do not")
        elif family is LossFamily.DIRECTION:
            if low >= 0 > labels.low:
                share = labels.share_outside(0.0, math.inf)
                yield self._finding(setup, judged, share, "no such vector points where they do")
        elif labels.exceeds(low, high):
            share = labels.share_outside(low, high)
            why = f"{share:.0%} of the targets lie outside, where the {name} has no gradient"
            yield self._finding(setup, judged, share, why)

    def _finding(self, setup: Setup, judged: Judged, share: float, why: str) -> Finding:
        head, labels = judged.head, judged.labels
        low, high = head.range or (-math.inf, math.inf)
        few = share <= self.unreachable_share
        return self.finding(
            (
                f"{head.label[0].upper()}{head.label[1:]} is linear and returns any number"
                if head.activation == "linear"
                else f"The {head.activation} of {head.label} returns values from {low:g} to "
                f"{high:g}"
            )
            + f" for {labels.described} under {head.loss.name}: {why}.",
            severity=Severity.WARNING if few else None,
            measurements=[
                self.measure("unreachable_share", share),
                Measurement(name="lowest target", value=labels.low),
                Measurement(name="highest target", value=labels.high),
            ],
            layers=head.layer_names,
            remedies=[agree(setup, judged, *reaching(judged))],
        )


def _into_reach(setup: Setup, judged: Judged) -> tuple[Remedy, ...]:
    """Scale inputs and targets that are never negative, where the head gives back shares of 1."""
    scalable = judged.head.range == (0, 1) and judged.labels.low >= 0
    return (scale_both(setup, judged.labels.high),) if scalable else ()
