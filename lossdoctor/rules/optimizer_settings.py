from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.optimizer_use import OptimizerUse
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.optimizer import constant_rate, defaults, usual_rate, wider_clipping
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Rule):
    """Optimizer settings that cannot work, whatever the task.

    **What it detects.** A learning rate of 0 or below; a schedule that is spent long before the
    end; gradients clipped so tightly that the weights cannot get anywhere; momentum, Adam's betas
    or epsilon outside what their theory allows; weight decay on top of an L2 penalty.

    **Why it matters.** Such a run stands still, or walks uphill, from a setting and not from the
    data, and looks like a hard task.

    **How it is measured.** Sampled values of the schedule over the planned steps; share of recorded
    steps that clipping changed, with rate × limit × steps ÷ ‖w‖ as the farthest it can go under
    SGD (Adam divides the clipping out again). For Adam β₁ < √β₂ (Reddi et al.), and an epsilon
    set above 0.0001 against the recorded gradients.

    **How to fix it.** The optimizer's usual rate; a schedule as long as the run; a clipping norm
    of 1.

    **When it is wrong.** A warm-up starts at 0 and is left alone, as is ReduceLROnPlateau, which
    lowers the rate because the loss has stopped falling (unless it was still falling).

    **References.** Kingma and Ba, Adam (2015), theorem 4.1; Reddi et al., On the convergence of
    Adam (2018); Loshchilov and Hutter, Decoupled weight decay (2019).
    """

    title = "Optimizer settings that cannot work"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = (STUCK | UNSTABLE | {"train_inference_gap"}) - {
        "high_initial_loss",
        "high_learning_rate",
    }

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

    damping: float = threshold(
        10.0,
        fires="above",
        unit="× epsilon above the gradients' own size",
        source="Adam's step is then a tenth of the learning rate at most",
    )

    memory: float = threshold(
        0.5,
        fires="above",
        unit="of the run's steps",
        source="the first gradients then steer all of it: steps add up to 1 / (1 - momentum) times "
        "the rate before any of them is forgotten",
    )

    def check(self, use: OptimizerUse) -> Findings:
        optimizer = use.optimizer
        if use.rate is not None and use.rate <= 0:
            yield self._rate(use, use.rate)
        elif use.spent is not None and use.spent > self.spent:
            yield self.finding(
                f"The {optimizer.schedule or 'schedule'} has fallen to a thousandth of its peak of "
                f"{use.rate:g} when {use.spent:.0%} of the run is still to come.",
                severity=Severity.WARNING,
                measurements=[self.measure("spent", use.spent)],
                remedies=[constant_rate(use)],
            )
        clipped, reach = use.clipped or 0.0, use.reach
        if clipped > self.clipped and reach is not None and reach < self.reach:
            yield self.finding(
                f"{use.clipping}={getattr(optimizer, use.clipping):g} clips {clipped:.0%} of the "
                f"gradients, and at that size the whole run can move the weights by {reach:.0%} of "
                "their norm at most.",
                measurements=[self.measure("clipped", clipped), self.measure("reach", reach)],
                remedies=[wider_clipping(use)],
            )
        yield from self._theory(use)
        if optimizer.weight_decay and use.penalized:
            yield self.finding(
                f"Weight decay {optimizer.weight_decay:g} acts on kernels that an L2 penalty "
                "shrinks already.",
                title="Weight decay and L2 penalty",
                severity=Severity.INFO,
                layers=use.penalized,
                remedies=[Remedy(text="Keep one of the two; under Adam, weight decay.")],
            )

    def _rate(self, use: OptimizerUse, rate: float) -> Finding:
        where = "stands still" if rate == 0 else "climbs the loss instead of descending it"
        measured = Measurement(name="learning rate", value=rate, threshold=0, fires="below")
        return self.finding(
            f"The learning rate is {rate:g}, so the run {where}.",
            measurements=[measured],
            remedies=[usual_rate(use)],
        )

    def _theory(self, use: OptimizerUse) -> Findings:
        first, second, momentum = use.optimizer.beta_1, use.optimizer.beta_2, use.optimizer.momentum
        old = "so old gradients outweigh the present one and steps need not descend"
        if momentum >= 1:
            yield self._unusual(f"momentum={momentum:g}, {old}", defaults(use, momentum=0.9))
        elif first is not None and second is not None and first >= second**0.5:
            text = f"beta_1={first:g} is not below the root of beta_2={second:g}, {old}"
            yield self._unusual(text, defaults(use, beta_1=0.9, beta_2=0.999))
        if use.memory is not None and use.memory > self.memory:
            name = "momentum" if momentum else "beta_1"
            kept = momentum or first or 0.0
            text = (
                f"{name}={kept:g} adds up the gradients of {1 / (1 - kept):,.0f} steps, more than "
            )
            text += f"{self.memory:.0%} of this run's, so that it is steered by where it began"
            remedy = defaults(use, **{name: 0.9})
            yield self._unusual(text, remedy, self.measure("memory", use.memory))
        if use.damping is not None and use.damping > self.damping:
            text = f"epsilon={use.optimizer.epsilon:g} is {use.damping:,.0f} times the gradients"
            text += ", so that the steps shrink with them instead of keeping the rate's size"
            remedy = defaults(use, epsilon=1e-7)
            yield self._unusual(text, remedy, self.measure("damping", use.damping))

    def _unusual(self, text: str, remedy: Remedy, *measured: Measurement) -> Finding:
        return self.finding(
            f"{text}.", severity=Severity.WARNING, measurements=measured, remedies=[remedy]
        )
