from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.unit_activity import UnitActivity
from lossdoctor.evidence.update_ratio import UpdateRatio
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.gradients import fresh_weights, leaky_relu, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

LEARNED = 0.5
"""Where half of what a constant leaves is learned, a side branch at rest does no harm."""


@dataclass(frozen=True, kw_only=True)
class StalledUpdates(Rule):
    """Trainable weights that no step of the run has moved.

    **What it detects.** Layers that are part of what is trained and yet stay exactly as they began:
    because the loss has no gradient for them (disconnected), because that gradient is exactly
    zero (kernels that all begin at zero), or because the update is too small to be added.

    **Why it matters.** They keep their initial values for ever. The loss may still fall a little,
    by the biases of the head, which makes the run look merely slow.

    **How it is measured.** The update norm of every layer at every sampled step, which must be
    exactly 0 throughout, beside its gradient norm and whether it has a gradient at all.

    **How to fix it.** By the reason: he or glorot initialization in place of zeros; an operation
    with a gradient in place of rounding, argmax or stop_gradient; a rate large enough to count.

    **When it is wrong.** Frozen layers are not trainable and not looked at; a learning rate of 0
    is told by `optimizer_settings`, dead relu layers by `dead_units`; a single variable at rest
    (the recurrent kernel of an LSTM that sees one time step) is no stalled layer. A loss that is
    fully satisfied has no gradient either, and is left alone.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 8.4, on
    breaking symmetry. Zhang et al., AutoTrainer (2021).
    """

    title = "Weights that never move"
    severity = Severity.ERROR
    stage = Stage.ARCHITECTURE
    explains = frozenset(
        {
            "constant_predictions",
            "loss_metric_divergence",
            "loss_plateau",
            "low_learning_rate",
            "noisy_gradients",
            "underfitting",
            "undertrained",
        }
    )

    parameter_share: float = threshold(
        0.5,
        fires="above",
        unit="of the trainable parameters (WARNING up to it, ERROR above)",
        source="Reasoning: a model most of which is random features cannot be right as it stands",
    )
    remaining: float = threshold(
        0.1,
        fires="above",
        unit="of a constant prediction's loss, where no layer at all moves",
        source="Reasoning: a loss without any gradient is either satisfied or flat",
    )

    def check(
        self,
        updates: UpdateRatio,
        activity: UnitActivity | None,
        scale: LossScale | None,
        setup: Setup,
    ) -> Findings:
        if updates.rate_is_zero:
            raise NotApplicable("the learning rate is 0")
        if setup.model.custom_train_step:
            raise NotApplicable("a custom train_step decides which weights each step is to move")
        if updates.disconnected:
            yield self._disconnected(updates, scale, setup)
        silent = updates.without_gradient(updates.unmoved)
        if len(silent) == len(updates.layers):
            if scale is None or scale.end > self.remaining:
                yield self._flat(updates, setup)
            return
        zero = tuple(layer for layer in silent if layer in updates.zero_kernels)
        dead = {layer.layer for layer in activity.layers if layer.dead == 1} if activity else set()
        cut_off = tuple(layer for layer in silent if zero or layer not in dead)
        if cut_off:
            yield self._without_gradient(cut_off, zero, updates, setup)
        lost = tuple(layer for layer in updates.unmoved if layer not in silent)
        if lost:
            yield self._too_small(lost, updates)

    def _disconnected(self, updates: UpdateRatio, scale: LossScale | None, setup: Setup) -> Finding:
        layers = updates.disconnected
        severity = Severity.WARNING if len(setup.model.outputs) > 1 else None
        few = updates.share_of_parameters(layers) <= self.parameter_share
        if few and scale is not None and scale.end <= LEARNED:
            severity = Severity.INFO
        return self._stalled(
            layers,
            updates,
            f"The loss has no gradient with respect to {listed(layers)}: nothing differentiable "
            "leads from there to the loss",
            [
                Remedy(
                    text="Replace what cuts the path behind "
                    f"{listed(layers)} (rounding, argmax, casting to integers, stop_gradient, "
                    "numpy inside the model), or add the loss of the output they lead to; if they "
                    "are meant to stay as they are, say so with trainable=False."
                )
            ],
            severity,
        )

    def _flat(self, updates: UpdateRatio, setup: Setup) -> Finding:
        custom = any(loss.custom for loss in setup.losses) or setup.model.custom_compute_loss
        what = "the custom loss" if custom else "the loss of these predictions"
        return self._stalled(
            updates.layers,
            updates,
            f"Not one of the {len(updates.layers)} trainable layers ever received a gradient other "
            f"than 0: {what} does not change when the weights do",
            [
                Remedy(
                    text="Write the loss without rounding, comparisons and clipping, whose slope "
                    "is 0, and check it with tf.GradientTape on one batch."
                    if custom
                    else "Check with tf.GradientTape on one batch where the gradient becomes 0: "
                    "a head that is constant or saturated from the start has none."
                )
            ],
        )

    def _without_gradient(
        self,
        layers: tuple[str, ...],
        zero: tuple[str, ...],
        updates: UpdateRatio,
        setup: Setup,
    ) -> Finding:
        if zero:
            why = f"the kernels of {listed(updates.zero_kernels)} begin at 0, so no unit differs"
            remedy = fresh_weights(
                setup,
                updates.zero_kernels,
                "zero weights pass neither signal nor gradient, and random ones at this scale make "
                "every unit different; neither the rate nor more epochs can move them",
            )
        else:
            why = "something behind them lets nothing through"
            remedy = leaky_relu(setup, layers, "it has a slope wherever relu has none")
        return self._stalled(
            layers,
            updates,
            f"{listed(layers)} never moved, because every gradient there was exactly 0: {why}",
            [remedy],
        )

    def _too_small(self, layers: tuple[str, ...], updates: UpdateRatio) -> Finding:
        return self._stalled(
            layers,
            updates,
            f"{listed(layers)} never moved although gradients arrive: every update is lost in "
            "rounding, or undone by a constraint",
            [
                Remedy(
                    text=f"Look at the kernel_constraint of {listed(layers)}, and compare learning "
                    "rate times gradient with the weights: float32 forgets a change of less than "
                    "6e-8 of them."
                )
            ],
        )

    def _stalled(
        self,
        layers: tuple[str, ...],
        updates: UpdateRatio,
        message: str,
        remedies: list[Remedy],
        severity: Severity | None = None,
    ) -> Finding:
        share = updates.share_of_parameters(layers)
        mild = Severity.WARNING if share <= self.parameter_share else None
        return self.finding(
            f"{message} ({share:.0%} of the trainable parameters).",
            severity=severity or mild,
            measurements=[
                Measurement(name="largest update", value=0.0, unit="‖Δw‖"),
                self.measure("parameter_share", share)
                if mild is None
                else Measurement(name="share of the trainable parameters", value=share),
            ],
            layers=layers,
            remedies=remedies,
        )
