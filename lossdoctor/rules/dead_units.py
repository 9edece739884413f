from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.predictions import Predictions
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.unit_activity import LayerActivity, UnitActivity
from lossdoctor.finding import Measurement, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.gradients import against_dead_units
from lossdoctor.rules._rule import Findings, Rule, threshold

_RECTIFIED = {"relu", "relu6"}
OVERSHOOTING = 1.02
"""Only the head's bias learns behind a dead layer: calm steps end at the best constant's loss."""


@dataclass(frozen=True, kw_only=True)
class DeadUnits(Rule):
    """Units that no example sends any gradient to: they never learn again.

    **What it detects.** A layer all of whose units got no gradient from any example of the last
    epochs (ERROR), or more than half of whose units did while the model is no better than a
    constant (WARNING); and single outputs of a relu head that are 0 for every example (WARNING).

    **Why it matters.** A relu whose input is negative for every example puts out 0, and its slope
    there is 0 too, so nothing can bring it back. When a whole layer is dead, the output no longer
    depends on the input, and only the biases behind it learn.

    **How it is measured.** Exact: a unit counts as dead when its gradient was exactly zero in
    every batch of each of the last five epochs. Zero *activations* are normal and not counted.

    **How to fix it.** By how the units died: biases that start far below zero start at zero;
    units killed by a large step need a lower rate; leaky_relu keeps a way back.

    **When it is wrong.** Trained relu networks live well with many dead units: with Adam at 0.01
    to 0.1, second layers with 50 % to 97 % of them dead reach R² 0.97 to 0.999 and the best
    accuracy of all rates. So a share alone is never reported. Nor are fully satisfied losses
    (hinge beyond its margin), where nothing gets a gradient because nothing is wrong.

    **References.** Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic
    models (2013). Lu et al., Dying ReLU and initialization (2020).
    """

    title = "Dead units"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = STUCK - {"dead_units", "saturated_activations", "vanishing_gradients"}

    dead_share: float = threshold(
        0.5,
        fires="above",
        unit="of a layer's units",
        source="AutoTrainer, SageMaker Debugger (50 to 70 %); 25 % to 50 % are dead at the start "
        "on inputs that are never negative, such as XOR",
    )
    remaining: float = threshold(
        0.9,
        fires="above",
        unit="of a constant prediction's loss",
        source="measured on 119 relu networks (5 tasks, 7 rates): 29 that learned have more than "
        "half of a layer dead and end at 0.0001 to 0.90, 14 with a dead layer at 0.98 to 1.23",
    )

    unanswered: float = threshold(
        0.05,
        fires="above",
        unit="of the targets' variance, in outputs that are 0 for every example",
        source="reasoning: less may be an autoencoder's seldom lit pixels; one bit of six is 17 %",
    )

    def check(
        self,
        activity: UnitActivity,
        scale: LossScale | None,
        sizes: StepSize | None,
        setup: Setup,
        predictions: Predictions | None,
    ) -> Findings:
        yield from self._silent_outputs(activity, predictions, setup)
        if scale is not None and scale.end <= self.remaining:
            return
        for layer in self._without_gradient(activity, scale):
            share = "All" if layer.dead == 1 else f"{layer.dead:.0%} of the"
            kind = f" ({layer.activation})" if layer.activation else ""
            when = f"since epoch {layer.died.epoch}" if layer.died else "from the start"
            yield self.finding(
                f"{share} {layer.units} units of '{layer.layer}'{kind} got no gradient from any "
                f"example {when}, {_consequence(layer, scale)}.",
                severity=Severity.ERROR if layer.dead == 1 else Severity.WARNING,
                measurements=[
                    self.measure("dead_share", layer.dead),
                    *([self.measure("remaining", scale.end)] if scale else []),
                    Measurement(name="dead in the first epoch", value=layer.dead_first),
                ],
                layers=[layer.layer],
                onset=layer.onset,
                remedies=against_dead_units(
                    setup, layer, sizes, overshoots=bool(scale and scale.end > OVERSHOOTING)
                ),
            )

    def _silent_outputs(
        self, activity: UnitActivity, predictions: Predictions | None, setup: Setup
    ) -> Findings:
        """Single units of a relu head that no example reaches, although their targets vary."""
        lost = (
            {a.head.layer_names: a.unanswered for a in predictions.answers} if predictions else {}
        )
        for layer in activity.layers:
            share = lost.get((layer.layer,), 0.0)
            if layer.activation in _RECTIFIED and 0 < layer.dead < 1 and share > self.unanswered:
                yield self.finding(
                    f"Single outputs of '{layer.layer}' ({layer.activation}) are 0 for every "
                    f"example and get no gradient: {share:.0%} of the targets' variance is theirs.",
                    severity=Severity.WARNING,
                    measurements=[self.measure("unanswered", share)],
                    layers=[layer.layer],
                    remedies=against_dead_units(setup, layer, None, overshoots=False),
                )

    def _without_gradient(
        self, activity: UnitActivity, scale: LossScale | None
    ) -> tuple[LayerActivity, ...]:
        if activity.silent_head is not None:
            # Without a loss to judge by, a head without gradient may as well be satisfied.
            if activity.silent_head.activation not in _RECTIFIED or scale is None:
                raise NotApplicable("not even the head gets a gradient: it or the loss is flat")
            return (activity.silent_head,)
        blocked = activity.blocked_at
        if blocked is None:
            found = activity.above(self.dead_share) if scale else ()
            return tuple(layer for layer in found if not layer.zero_kernel)
        if blocked.zero_kernel:
            raise NotApplicable(f"'{blocked.layer}' began with all weights 0, which none can leave")
        return (blocked,)


def _consequence(layer: LayerActivity, scale: LossScale | None) -> str:
    if layer.is_head:
        return "so every prediction is 0 and no weight of the model moves"
    if layer.dead == 1:
        return "so the output no longer depends on the input"
    return f"and the loss ends {scale.place}" if scale else ""
