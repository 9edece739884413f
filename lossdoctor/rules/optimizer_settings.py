from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossdoctor.evidence.optimizer_use import OptimizerUse
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule, threshold

_USUAL_RATES = {"SGD": 0.01, "Adagrad": 0.01, "Adadelta": 1.0, "Lion": 1e-4}


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Rule):
    """Optimizer settings that cannot work, whatever the task.

    **What it detects.** A learning rate of 0 or below; a schedule that is spent long before the
    end; gradients clipped so tightly that the weights cannot get anywhere; momentum or Adam's
    betas outside what their theory allows; weight decay on top of an L2 penalty.

    **Why it matters.** Such a run stands still, or walks uphill, from a setting and not from the
    data, and looks like a hard task.

    **How it is measured.** Sampled values of the schedule over the planned steps; share of recorded
    steps that clipping changed, with rate × limit × steps ÷ ‖w‖ as the farthest it can go under
    SGD (Adam divides the clipping out again). For Adam β₁ < √β₂ (Reddi et al.).

    **How to fix it.** The optimizer's usual rate; a schedule as long as the run; a clipping norm
    of 1.

    **When it is wrong.** A warm-up starts at 0 and is left alone, as is ReduceLROnPlateau, which
    lowers the rate because the loss has stopped falling.

    **References.** Kingma and Ba, Adam (2015), theorem 4.1; Reddi et al., On the convergence of
    Adam (2018); Loshchilov and Hutter, Decoupled weight decay (2019).
    """

    title = "Optimizer settings that cannot work"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = STUCK | {"diverging_loss", "exploding_gradients", "exploding_weights"}

    spent: float = threshold(
        0.5,
        fires="above",
        unit="of the run below 1/1000 of the rate",
        source="cosine and step schedules reach a thousandth in the last percent of a run, if ever",
    )
    clipped: float = threshold(
        0.95,
        fires="above",
        unit="of the gradients clipped",
        source="clipping is made for the exceptional step; here the limit is the step",
    )
    reach: float = threshold(
        0.3,
        fires="below",
        unit="‖Δw‖ ÷ ‖w‖ at most",
        source="a network that learned has moved its kernels by about their own size",
    )

    def check(self, use: OptimizerUse) -> Findings:
        if use.rate is not None and use.rate <= 0:
            yield self._rate(use, use.rate)
        elif use.spent is not None and use.spent > self.spent:
            yield self._schedule(use, use.spent)
        clipped, reach = use.clipped or 0.0, use.reach
        if clipped > self.clipped and reach is not None and reach < self.reach:
            yield self._clipping(use, clipped, reach)
        yield from self._theory(use)
        if use.optimizer.weight_decay and use.penalized:
            yield self.finding(
                f"Weight decay {use.optimizer.weight_decay:g} acts on kernels that an L2 penalty "
                "shrinks already.",
                title="Weight decay and L2 penalty",
                severity=Severity.INFO,
                layers=use.penalized,
                remedies=[
                    Remedy(
                        text="Keep one of the two: weight decay under Adam, L2 or both "
                        "alike under SGD."
                    )
                ],
            )

    def _rate(self, use: OptimizerUse, rate: float) -> Finding:
        usual = _usual_rate(use)
        where = "stands still" if rate == 0 else "climbs the loss instead of descending it"
        return self.finding(
            f"The learning rate is {rate:g}, so the run {where}.",
            measurements=[
                Measurement(name="learning rate", value=rate, threshold=0, fires="below")
            ],
            remedies=[
                Remedy(
                    text=f"Start from {usual:g}, the usual rate of {use.optimizer.class_name}.",
                    code=compile_code(use.setup, learning_rate=usual),
                )
            ],
        )

    def _schedule(self, use: OptimizerUse, spent: float) -> Finding:
        name = use.optimizer.schedule or "schedule"
        return self.finding(
            f"The {name} has fallen to a thousandth of its peak of {use.rate:g} when {spent:.0%} "
            "of the run is still to come.",
            measurements=[self.measure("spent", spent)],
            severity=Severity.WARNING,
            remedies=[
                Remedy(
                    text="Train at the schedule's own first rate, or stretch it to the length of "
                    "the run (decay_steps counts steps, not epochs): more epochs at the end would "
                    "change nothing.",
                    code=compile_code(use.setup, learning_rate=use.rate),
                )
            ],
        )

    def _clipping(self, use: OptimizerUse, clipped: float, reach: float) -> Finding:
        setting = "clipnorm" if use.optimizer.clipnorm else "global_clipnorm"
        setting = "clipvalue" if use.optimizer.clipvalue else setting
        limit = getattr(use.optimizer, setting)
        return self.finding(
            f"{setting}={limit:g} clips {clipped:.0%} of the gradients, and at that size the whole "
            f"run can move the weights by {reach:.0%} of their norm at most.",
            measurements=[self.measure("clipped", clipped), self.measure("reach", reach)],
            remedies=[
                Remedy(
                    text="Clip at 1, which stops exceptional steps only; a larger learning rate "
                    "would undo the clipping by hand.",
                    code=_compile(use, **{setting: 1.0}),
                )
            ],
        )

    def _theory(self, use: OptimizerUse) -> Findings:
        first, second, momentum = use.optimizer.beta_1, use.optimizer.beta_2, use.optimizer.momentum
        if momentum >= 1:
            yield self._memory(use, f"momentum={momentum:g} never forgets", momentum=0.9)
        elif first is not None and second is not None and first >= second**0.5:
            text = f"beta_1={first:g} is not below the root of beta_2={second:g}"
            yield self._memory(use, text, beta_1=0.9, beta_2=0.999)

    def _memory(self, use: OptimizerUse, text: str, **usual: float) -> Finding:
        shown = " and ".join(f"{name}={value:g}" for name, value in usual.items())
        return self.finding(
            f"{text}, so old gradients outweigh the present one and steps need not descend.",
            severity=Severity.WARNING,
            remedies=[Remedy(text=f"Use {shown}, the default.", code=_compile(use, **usual))],
        )


def _compile(use: OptimizerUse, **changes: Any) -> str:
    return compile_code(use.setup, **changes)


def _usual_rate(use: OptimizerUse) -> float:
    return _USUAL_RATES.get(use.optimizer.class_name, 0.001)
