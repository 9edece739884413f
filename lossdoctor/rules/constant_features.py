from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.feature_variation import FeatureVariation, Variation
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._rule import Findings, Rule

_COLUMNS_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class ConstantFeatures(Rule):
    """Inputs that are the same for every example.

    **What it detects.** Columns without any variation, and inputs that do not vary at all.

    **Why it matters.** A column that never changes tells nothing about any example; its weight is a
    second bias. When all inputs are alike, no model can tell one example from another: the best it
    can do is the constant prediction. Integer division, a scaler fitted to the wrong axis or a
    cast to integers after scaling are the usual causes.

    **How it is measured.** Standard deviation of each column over all examples. Columns of zeros at
    the border of images or in padding are left out.

    **How to fix it.** Find the step of the preprocessing that flattens the data; leave single
    constant columns out.

    **When it is wrong.** Single constant columns harm nobody: INFO.

    **References.** scikit-learn, `VarianceThreshold`.
    """

    title = "Constant inputs"
    severity = Severity.ERROR
    stage = Stage.DATA
    explains = STUCK | {
        "uninformative_inputs",
        "label_noise",
        "unscaled_inputs",
        "too_few_examples",
    }

    def check(self, variation: FeatureVariation) -> Findings:
        for found in variation.inputs:
            if found.all_alike:
                yield self._all_alike(found)
            elif found.constant:
                yield self._some(found)

    def _all_alike(self, found: Variation) -> Finding:
        low, high = found.summary.min, found.summary.max
        value = f"{low:.4g}" if low == high else f"numbers from {low:.4g} to {high:.4g}"
        return self.finding(
            f"All {found.summary.rows:,} examples have the same input ({value}), so nothing can be "
            "learned from it.",
            measurements=[
                Measurement(
                    name="varying features", value=0, unit="features", threshold=1, fires="below"
                )
            ],
            remedies=[
                Remedy(
                    text="Look at the inputs before and after each step of the preprocessing: "
                    "division of integers (`X // 255`), a cast to integers after scaling, or a "
                    "wrong axis leave nothing. No setting of the model can bring it back."
                )
            ],
        )

    def _some(self, found: Variation) -> Finding:
        names = ", ".join(found.constant[:_COLUMNS_NAMED])
        more = len(found.constant) - _COLUMNS_NAMED
        return self.finding(
            f"{len(found.constant)} of {found.features} columns of {found.summary.name or 'x'} "
            f"never change ({names}{f' and {more} more' if more > 0 else ''}).",
            severity=Severity.INFO,
            measurements=[
                Measurement(
                    name="constant columns",
                    value=len(found.constant),
                    unit="columns",
                    threshold=0,
                    fires="above",
                )
            ],
            remedies=[Remedy(text="Leave them out; they cost weights and tell nothing.")],
        )
