from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.saturation import SaturatedLayer, Saturation
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.finding import Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.gradients import (
    LARGE_UPDATE,
    fresh_weights,
    normalize_before,
    relu_and_he,
    smaller_rate,
    zero_bias,
)
from lossdoctor.rules._rule import Findings, Rule, threshold

LARGE_KERNEL = 3.0
"""Glorot, He and LeCun draws enlarge an input of scale 1 by at most 1.4."""
TAIL = 2.65
"""Where tanh passes 0.99."""


@dataclass(frozen=True, kw_only=True)
class SaturatedActivations(Rule):
    """Hidden sigmoid or tanh units stand in their flat tails, where hardly any gradient passes.

    **What it detects.** Hidden layers most of whose outputs are within 0.01 of the ends of a
    sigmoid or tanh, in a model that is hardly better than a constant.

    **Why it matters.** The slope there is below 0.02: the layer has turned into random switches
    that no longer follow the loss, and everything before it starves.

    **How it is measured.** On a sample of training rows, in inference mode, after training: the
    share of a layer's outputs beyond ±0.99 (tanh) or outside 0.01 to 0.99 (sigmoid). Heads and the
    gates of recurrent layers do not count: they are meant to switch.

    **How to fix it.** By what drove them there: kernels drawn too large, steps too large, or
    inputs too large, which normalization in front of the layer takes away.

    **When it is wrong.** Saturation that training itself has chosen is fine: tanh networks that
    solved XOR have half of their outputs in the tails, and with Adam at 0.1 layers with 54 % to
    97 % reach the best loss of all rates. So it is only reported of runs that learned nothing.

    **References.** Glorot and Bengio, Understanding the difficulty of training deep feedforward
    neural networks (2010). Rakitianskaia and Engelbrecht, Measuring saturation in neural networks
    (2015).
    """

    title = "Saturated activations"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = STUCK - {"saturated_activations", "saturated_output"}

    saturated_share: float = threshold(
        0.5,
        fires="above",
        unit="of a layer's outputs",
        source="DeepDiagnosis, TheDeepChecker; measured: 0 to 0.3 at ordinary rates, 0.8 to 0.98 "
        "with inputs x30 or SGD at 0.5",
    )
    remaining: float = threshold(
        0.9,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured on 150 tanh and sigmoid networks: 56 with more than half of a layer "
        "saturated end below it, the best of them as low as the best unsaturated ones",
    )

    def check(
        self, saturation: Saturation, scale: LossScale, sizes: StepSize | None, setup: Setup
    ) -> Findings:
        found = saturation.above(self.saturated_share)
        if not found or scale.end <= self.remaining:
            return
        worst = max(found, key=lambda layer: layer.share)
        yield self.finding(
            f"{worst.share:.0%} of the outputs of '{worst.layer}' ({worst.activation}) stand "
            f"in its flat tails, and the loss ends {scale.place}.",
            measurements=[
                self.measure("saturated_share", worst.share),
                self.measure("remaining", scale.end),
            ],
            layers=[layer.layer for layer in found],
            remedies=_remedies(found, worst, sizes, setup),
        )


def _remedies(
    found: tuple[SaturatedLayer, ...],
    worst: SaturatedLayer,
    sizes: StepSize | None,
    setup: Setup,
) -> list[Remedy]:
    weighted = tuple(dict.fromkeys(layer.weighted for layer in found if layer.weighted))
    normalize = normalize_before(
        setup,
        weighted,
        f"what {worst.activation} receives is too large, and scaled to 1 it falls on its slope",
    )
    if worst.bias > TAIL:
        why = f"they begin at {worst.bias:.2g} in size, which alone puts the units into the tail"
        return [zero_bias(setup, weighted, why), normalize]
    if worst.kernel_scale > LARGE_KERNEL:
        why = (
            f"the kernel of '{worst.weighted}' enlarged its input {worst.kernel_scale:.2g} times "
            "from the start; at this scale the input keeps its size"
        )
        return [fresh_weights(setup, weighted, why), normalize]
    if sizes is not None and sizes.peak > LARGE_UPDATE:
        return [smaller_rate(setup, sizes), normalize]
    relu = relu_and_he(setup, f"relu has no upper tail, unlike {worst.activation}")
    return [normalize, relu] if weighted else [relu]
