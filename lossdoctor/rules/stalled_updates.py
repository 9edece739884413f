from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.unit_activity import UnitActivity
from lossdoctor.evidence.update_ratio import NoGradients, UpdateRatio
from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.rules._remedies.gradients import Stall, against_stall, listed
from lossdoctor.rules._rule import Findings, Rule, threshold

_WHY = {
    Stall.DISCONNECTED: "The loss has no gradient with respect to {layers}: nothing differentiable "
    "leads from there to the loss",
    Stall.FLAT: "No layer ({layers}) ever received a gradient other than 0: the loss does not "
    "change when the weights do",
    Stall.ZERO_KERNELS: "{layers} never moved, because every gradient there was exactly 0: the "
    "kernels of {zero} begin at 0, so no unit differs",
    Stall.CUT_OFF: "{layers} never moved, because every gradient there was exactly 0: something "
    "behind lets nothing through",
    Stall.LOST: "{layers} never moved although gradients arrive: every update is lost in rounding, "
    "or undone by a constraint",
}
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
        updates: UpdateRatio | None,
        refused: NoGradients | None,
        activity: UnitActivity | None,
        scale: LossScale | None,
        setup: Setup,
    ) -> Findings:
        if refused is not None:
            yield self._refused(refused, setup)
            return
        if updates is None:
            raise NotApplicable("update norms: run with LossDoctor()")
        if updates.rate_is_zero:
            raise NotApplicable("the learning rate is 0")
        if setup.model.custom_train_step:
            raise NotApplicable("a custom train_step decides which weights each step is to move")
        end = scale.end if scale else None
        for stall, layers in self._stalls(updates, activity, end):
            share = updates.share_of_parameters(layers)
            few = share <= self.parameter_share
            severity = Severity.WARNING if few else Severity.ERROR
            if stall is Stall.DISCONNECTED and few and end is not None and end <= LEARNED:
                severity = Severity.INFO
            why = _WHY[stall].format(
                layers=listed(layers), zero=listed(updates.zero_kernels or layers)
            )
            yield self.finding(
                f"{why} ({share:.0%} of the trainable parameters).",
                severity=severity,
                measurements=[
                    Measurement(name="largest update", value=0.0, unit="‖Δw‖"),
                    Measurement(name="share of the trainable parameters", value=share)
                    if few
                    else self.measure("parameter_share", share),
                ],
                layers=layers,
                remedies=[against_stall(stall, layers, updates.zero_kernels, setup)],
            )

    def _refused(self, refused: NoGradients, setup: Setup) -> Finding:
        why = _WHY[Stall.DISCONNECTED].format(layers=listed(refused.layers))
        return self.finding(
            f"{why}, so Keras raises at fit.",
            measurements=[self.measure("parameter_share", 1.0)],
            layers=refused.layers,
            remedies=[against_stall(Stall.FLAT, refused.layers, (), setup)],
        )

    def _stalls(
        self, updates: UpdateRatio, activity: UnitActivity | None, end: float | None
    ) -> Iterator[tuple[Stall, tuple[str, ...]]]:
        if updates.disconnected:
            yield Stall.DISCONNECTED, updates.disconnected
        silent = updates.without_gradient(updates.unmoved)
        if len(silent) == len(updates.layers):
            if end is None or end > self.remaining:
                yield Stall.FLAT, silent
            return
        dead = activity.dead_layers if activity else ()
        if set(silent) & set(updates.zero_kernels):
            yield Stall.ZERO_KERNELS, silent
        elif silent and not dead:
            yield Stall.CUT_OFF, silent
        if lost := tuple(layer for layer in updates.unmoved if layer not in silent):
            yield Stall.LOST, lost
