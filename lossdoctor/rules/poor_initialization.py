from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.initialization import COMPOUNDING, Initialization, Kernel
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.architecture import listed
from lossdoctor.rules._remedies.gradients import fresh_weights, zero_bias
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class PoorInitialization(Rule):
    """Initial weights that are all alike, or far too large or small.

    **What it detects.** Kernels whose entries are all equal, kernels whose spread, or distance
    from zero, makes signals more than ten times larger or smaller than He, Glorot and LeCun do, or
    less so in so many layers that together they enlarge the signal a hundredfold; recurrent kernels
    that enlarge the state threefold at every time step; and, before training, hidden biases so far
    from zero that they decide alone.

    **Why it matters.** Units that start alike get the same gradient and stay alike: the layer
    counts as one unit, and zero kernels behind relu pass no gradient at all. A kernel ten times too
    large multiplies signal and gradient by ten in every layer, one too small lets both fade.

    **How it is measured.** Standard deviation of every kernel before the first step (a mean adds
    up, and counts √fan_in times), against √(2/fan_in), √(2/(fan_in + fan_out)) and √(1/fan_in).

    **How to fix it.** he_uniform for the relu family, glorot_uniform otherwise; zero biases.

    **When it is wrong.** A handful of weights may lie close together by chance: the spread must
    be one that draws from inside the band have in fewer than one of 10,000 kernels. Weights
    that were loaded or trained before are not judged: an optimizer that has taken steps, or a
    kernel that cannot be a draw of its own initializer, shows them. A zero head alone is
    harmless, and so is a run that learned anyway (INFO).

    **References.** Glorot and Bengio (2010); He et al., Delving deep into rectifiers (2015).
    """

    title = "Poor initialization"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = UNSTABLE | STUCK

    deviation: float = threshold(
        10.0,
        fires="above",
        unit="× outside the band of He, Glorot and LeCun",
        source="a factor of ten per layer is a factor of a hundred over two; band by the papers",
    )
    growth: float = threshold(
        100.0,
        fires="above",
        unit="× too large a signal, over all layers",
        source="what two kernels just beyond `deviation` make together",
    )
    recurrence: float = threshold(
        3.0,
        fires="above",
        unit="× too large a state, at every time step",
        source="measured: 32 units, 30 steps, two tasks: 2 × learns as well as the usual start, "
        "4 × ends SimpleRNN and costs LSTM and GRU validation accuracy, 8 × ends all of them",
    )
    bias: float = threshold(
        5.0,
        fires="above",
        unit="standard units",
        source="pre-activations start around ±1: one in three million reaches 5",
    )
    learned: float = threshold(
        0.9,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed nine tenths of the errors has overcome its start",
    )

    def check(self, initial: Initialization, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        alike = initial.alike(failed=outcome is not None and not learned)
        if alike:
            yield self._alike(initial, alike, learned)
            return
        off = initial.outside(self.deviation)
        if not off and initial.growth > self.growth:
            off = [k for k in initial.outside(COMPOUNDING) if k.excess > 1]
        off += initial.enlarging(self.recurrence)
        free = [k for k in off if k.follows_its_law is not False]
        biased = [k for k in initial.kernels if k.hidden and abs(k.bias) > self.bias]
        if off and not free:
            raise NotApplicable("the weights look loaded or trained before: cannot tell")
        if free:
            yield self._scale(initial, free, learned)
        if biased and initial.before_training:  # a run measures what they killed: `dead_units`
            yield self._biased(initial, biased)

    def _alike(self, initial: Initialization, alike: list[Kernel], learned: bool) -> Finding:
        names = [kernel.layer.name for kernel in alike]
        zero = all(kernel.is_zero for kernel in alike)
        return self.finding(
            f"All weights of {listed(names)} start at {'0' if zero else 'one and the same value'}, "
            f"so {'no gradient passes and ' if zero else ''}all units of a layer start alike.",
            severity=Severity.INFO if learned else Severity.ERROR,
            measurements=[Measurement(name="spread of the kernel", value=0.0)],
            layers=names,
            remedies=[_redraw(initial, alike)],
        )

    def _scale(self, initial: Initialization, off: list[Kernel], learned: bool) -> Finding:
        worst = max(off, key=lambda k: max(k.excess, k.shortfall))
        large, times = worst.excess > worst.shortfall, max(worst.excess, worst.shortfall)
        names = list(dict.fromkeys(kernel.layer.name for kernel in off))
        name, size, scope = "deviation", times, ""
        if worst.recurrent:
            name, scope = "recurrence", ", at every time step"
        elif times <= self.deviation:
            name, size = "growth", initial.growth
            scope = f", {size:,.0f} times with all layers together"
        return self.finding(
            f"The weights of {listed(names)} start around "
            f"{worst.weight.mean:.1g} ± {worst.weight.std:.2g}: signals come out {times:,.3g} "
            f"times {'larger' if large else 'smaller'} than with the 0 ± {worst.low:.2g} to "
            f"{worst.high:.2g} that suit their shape{scope}.",
            severity=Severity.INFO if learned else None,
            measurements=[self.measure(name, size)],
            layers=names,
            remedies=[_redraw(initial, [*initial.outside(COMPOUNDING), *off])],
        )

    def _biased(self, initial: Initialization, biased: list[Kernel]) -> Finding:
        worst = max(biased, key=lambda k: abs(k.bias))
        names = [k.layer.name for k in biased]
        return self.finding(
            f"The biases of {listed(names)} start around {worst.bias:.3g}, more than scaled inputs "
            "can outweigh.",
            measurements=[self.measure("bias", abs(worst.bias))],
            layers=names,
            remedies=[zero_bias(initial.setup, names, "the inputs then decide which units are on")],
        )


def _redraw(initial: Initialization, kernels: list[Kernel]) -> Remedy:
    why = (
        "He keeps signals at their size through the relu family, which halves them, Glorot through "
        "the others. Another learning rate cannot make up for it, as every layer needs another one"
    )
    return fresh_weights(initial.setup, [k.layer.name for k in kernels], why)
