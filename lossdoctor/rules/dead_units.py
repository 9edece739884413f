from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.unit_activity import LayerActivity, UnitActivity
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.gradients import (
    SATURATING,
    fresh_weights,
    leaky_relu,
    normalize_after,
    smaller_rate,
    zero_bias,
)
from lossdoctor.rules._rule import Findings, Rule, threshold

_RECTIFIED = {"relu", "relu6"}


@dataclass(frozen=True, kw_only=True)
class DeadUnits(Rule):
    """Units that no example sends any gradient to: they never learn again.

    **What it detects.** A layer all of whose units got no gradient from any example of the last
    epochs (ERROR), or more than half of whose units did while the model is no better than a
    constant (WARNING).

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
    explains = frozenset(
        {
            "constant_predictions",
            "loss_metric_divergence",
            "loss_plateau",
            "low_learning_rate",
            "noisy_gradients",
            "saturated_output",
            "stalled_updates",
            "underfitting",
            "undertrained",
        }
    )

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
        source="measured on 119 relu networks, 8 tasks, 7 rates: 48 that learned have more than "
        "half of a layer dead and end at 0.0003 to 0.85, layers that are all dead at 1.00 to 1.2",
    )

    def check(
        self,
        activity: UnitActivity,
        scale: LossScale | None,
        sizes: StepSize | None,
        setup: Setup,
    ) -> Findings:
        if scale is not None and scale.end <= self.remaining:
            return
        if activity.heads_silent:
            yield from self._dead_head(activity, scale, setup)
            return
        blocked = activity.blocked_at
        if blocked is not None:
            if blocked.zero_kernel:
                raise NotApplicable(
                    f"'{blocked.layer}' began with all weights 0, which no unit can leave"
                )
            yield self._found(blocked, Severity.ERROR, scale, sizes, setup)
            return
        for layer in activity.above(self.dead_share):
            if scale is not None and not layer.zero_kernel:
                yield self._found(layer, Severity.WARNING, scale, sizes, setup)

    def _found(
        self,
        layer: LayerActivity,
        severity: Severity,
        scale: LossScale | None,
        sizes: StepSize | None,
        setup: Setup,
    ) -> Finding:
        died = layer.onset is not None and layer.dead_first < self.dead_share
        when = f" since epoch {layer.onset.epoch}" if died and layer.onset else " from the start"
        count = round(layer.dead * layer.units)
        share = f"All {layer.units}" if layer.dead == 1 else f"{count} of {layer.units}"
        return self.finding(
            f"{share} units of '{layer.layer}' ({layer.activation or 'unknown activation'}) have "
            f"received no gradient from any example{when}"
            + (
                ", so the output no longer depends on the input."
                if layer.dead == 1
                else f", and the loss ends at {scale.end:.3g} {scale.unit}."
                if scale
                else "."
            ),
            severity=severity,
            measurements=[
                self.measure("dead_share", layer.dead),
                *([self.measure("remaining", scale.end)] if scale else []),
                Measurement(name="dead in the first epoch", value=layer.dead_first),
            ],
            layers=[layer.layer],
            onset=layer.onset,
            remedies=_remedies(layer, sizes, setup, died),
        )

    def _dead_head(self, activity: UnitActivity, scale: LossScale | None, setup: Setup) -> Findings:
        head = next(layer for layer in activity.layers if layer.is_head)
        if head.activation not in _RECTIFIED or scale is None:
            raise NotApplicable(
                "not even the head gets a gradient: the loss or the head is flat, not the units"
            )
        yield self.finding(
            f"The {head.activation} of the output layer '{head.layer}' is off for every example, "
            "so no weight of the model receives any gradient and every prediction is 0.",
            measurements=[
                self.measure("dead_share", head.dead),
                self.measure("remaining", scale.end),
            ],
            layers=[head.layer],
            onset=head.onset,
            remedies=[_open_head(setup, head)],
        )


def _remedies(
    layer: LayerActivity, sizes: StepSize | None, setup: Setup, died: bool
) -> list[Remedy]:
    names = [layer.layer]
    leaky = leaky_relu(
        setup, names, "its slope below zero is small but not 0, so a unit that is off can return"
    )
    if layer.activation in SATURATING:
        flat = f"{layer.activation} is flat to machine precision where its input is large"
        return [
            normalize_after(setup, names, f"{flat}; scaled signals keep it on its slope"),
            fresh_weights(setup, names, f"{flat}; these weights keep its input near 0"),
        ]
    if not died and layer.bias_mean < 0:
        why = (
            f"they begin at {layer.bias_mean:g} on average, which the inputs times weights of "
            f"scale {layer.kernel_std:.2g} never outweigh; leaky_relu would only hide that"
        )
        return [zero_bias(setup, names, why), leaky]
    if died and sizes is not None:
        return [smaller_rate(setup, sizes), leaky]
    return [leaky, fresh_weights(setup, names, "it gives every unit an even chance to be on")]


def _open_head(setup: Setup, head: LayerActivity) -> Remedy:
    return Remedy(
        text=f"Give '{head.layer}' a linear activation: it can put out the same non-negative "
        "values, and still gets a gradient where it is below them.",
        code=change_layers(setup, {head.layer: {"activation": "linear"}}),
    )
