from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.precision import Precision
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class MixedPrecisionHead(Rule):
    """Half precision where the numbers do not fit into it.

    **What it detects.** An output in float16, and runs in which loss scaling throws many updates
    away.

    **Why it matters.** float16 ends at 65,504 and knows no probability below 6e-8, which becomes 0:
    the logarithm of such a probability is infinite, and a squared error beyond 255 overflows. Loss
    scaling skips the steps whose gradients overflow; when it goes on doing so, the run stands
    still a good part of the time.

    **How it is measured.** Dtype of the outputs; share of skipped steps after the first 100, in
    which the scale is still being searched.

    **How to fix it.** dtype="float32" for the last layer; a smaller learning rate or clipped
    gradients where steps keep being skipped.

    **When it is wrong.** bfloat16 has the range of float32 and is left alone.

    **References.** Micikevicius et al., Mixed precision training (2018); Keras documentation,
    Mixed precision.
    """

    title = "Half precision at the head"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = STUCK | {"non_finite_loss", "exploding_gradients"}

    skipped: float = threshold(
        0.1,
        fires="above",
        unit="of the steps after the first 100",
        source="dynamic loss scaling skips about one step in 2,000 once it has found its scale",
    )

    def check(self, precision: Precision) -> Findings:
        half = precision.half_outputs
        if half:
            names = [head.name for head in half]
            yield self.finding(
                f"Output '{names[0]}' is computed in float16, which has no probability between 0 "
                "and 6e-8 and no number above 65,504.",
                layers=names,
                remedies=[
                    Remedy(
                        text="Compute the last layer in float32: it costs next to nothing, and the "
                        "rest keeps the speed of mixed precision.",
                        code=change_layers(
                            precision.setup, {name: {"dtype": "float32"} for name in names}
                        ),
                    )
                ],
            )
        if precision.skipped is not None and precision.skipped > self.skipped:
            yield self.finding(
                f"Loss scaling skipped {precision.skipped:.0%} of the steps after the first 100, "
                "because their gradients overflowed float16.",
                title="Loss scaling keeps skipping steps",
                measurements=[self.measure("skipped", precision.skipped)],
                remedies=[
                    Remedy(
                        text="Clip the gradients, so that no single batch overflows; where that "
                        "does not help, train in float32.",
                        code=compile_code(precision.setup, global_clipnorm=1.0),
                    )
                ],
            )
