from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.optimizer_use import OptimizerUse
from lossdoctor.evidence.rate_budget import RateBudget
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.optimizer import constant_rate, defaults, usual_rate, wider_clipping
from lossdoctor.rules._rule import Findings, Rule, threshold

_HARDLY = 0.075  # of the way, as of a decay below a thousandth for half of the run
_LEARNED, _HOPELESS = 0.2, 0.9  # of a constant prediction's loss
_ROOTS = {"high_initial_loss", "high_learning_rate"}


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Rule):
    """Optimizer settings that cannot work, whatever the task.

    **What it detects.** A learning rate of 0 or below; a schedule that is spent long before the
    end; gradients clipped so tightly that the weights cannot get anywhere; momentum, Adam's betas
    or epsilon outside what their theory allows.

    **Why it matters.** Such a run stands still, or walks uphill, and looks like a hard task.

    **How it is measured.** The sum of the rates ÷ steps × the highest one, where the loss still
    fell on that way or there hardly is any; share of steps that clipping changed, with rate × limit
    × steps ÷ ‖w‖ as the farthest it can go under SGD (Adam divides the clipping out again). For
    Adam β₁ < √β₂ (Reddi et al.), and an epsilon above 0.0001 against the recorded gradients.

    **How to fix it.** The usual rate; a schedule as long as the run; a clipping norm of 1.

    **When it is wrong.** A warm-up starts at 0 and is left alone, as is a rate that was lowered
    where the loss had stopped falling.

    **References.** Kingma and Ba, Adam (2015), theorem 4.1; Reddi et al., On the convergence of
    Adam (2018).
    """

    title = "Optimizer settings that cannot work"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = (STUCK | UNSTABLE | {"train_inference_gap"}) - _ROOTS

    way: float = threshold(
        0.15,
        fires="below",
        unit="of the way at the highest rate",
        source="cosine, step and one-cycle schedules go 0.3 to 0.6, an exponential decay to a "
        "hundredth 0.21; decays counted in epochs instead of steps 0.01 to 0.11",
    )
    gain: float = threshold(
        0.05,
        fires="above",
        unit="of a constant prediction's loss on the second half of that way",
        source="a loss at its floor gains nothing from going on",
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

    def check(self, use: OptimizerUse, budget: RateBudget | None) -> Findings:
        optimizer = use.optimizer
        if use.rate is not None and use.rate <= 0:
            yield self._rate(use, use.rate)
        elif use.way is not None and use.way < self.way and self._cut_short(use.way, use, budget):
            measured = [self.measure("way", use.way)]
            if budget is not None and budget.gain > self.gain:
                measured.append(self.measure("gain", budget.gain))
            yield self.finding(
                f"The {optimizer.schedule or 'learning rate'} falls so early that the run goes "
                f"{use.way:.1%} of the way its highest rate of {use.rate:g} would go.",
                severity=Severity.WARNING,
                measurements=measured,
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

    def _cut_short(self, way: float, use: OptimizerUse, budget: RateBudget | None) -> bool:
        hardly = way < _HARDLY or (budget is not None and budget.left > _HOPELESS)
        blind = hardly and not use.lowered_on_plateaus
        seen = budget is None or budget.left > _LEARNED
        return seen and (blind or (budget is not None and budget.gain > self.gain))

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
            text = f"{name}={kept:g} adds up the gradients of {1 / (1 - kept):,.0f} steps, more "
            text += f"than {self.memory:.0%} of this run's: it is steered by where it began"
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
