from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.regularization import Penalized, Regularization
from lossdoctor.evidence.training_outcome import TrainingOutcome
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.architecture import change_layers, listed
from lossdoctor.rules._remedies.code import Code
from lossdoctor.rules._rule import Findings, Rule, threshold

_GENTLE = "0.0001"
_GENTLE_OUTPUTS = Code(f"keras.regularizers.L1({_GENTLE})")
_MEASURED = "measured with 50 relu units on four tasks under SGD and Adam: "


@dataclass(frozen=True, kw_only=True)
class ExcessiveRegularization(Rule):
    """An L1 or L2 penalty so strong that the model follows it and not the data.

    **What it detects.** Penalty factors beyond what any of the usual tasks bears; penalized kernels
    and penalized outputs that shrank to almost nothing during the run.

    **Why it matters.** The penalty pulls every weight (or output) towards zero in every step. Where
    that outweighs the gradient of the data, the layer passes nothing on, and the model answers with
    a constant. The penalty itself is then near zero as well, which is why its share of the loss
    says little: healthy models had up to three quarters of it.

    **How it is measured.** The factors from the configuration; in a run, the norm of each
    penalized kernel at the end ÷ at the start, and the root mean square of a penalized layer's
    outputs ÷ of what it reads.

    **How to fix it.** A factor of 0.0001, raised only when the validation loss asks for it.

    **When it is wrong.** Sparse models that are meant to keep few weights; a run that learned
    anyway makes it INFO.

    **References.** Krogh and Hertz, A simple weight decay can improve generalization (1992);
    Loshchilov and Hutter, Decoupled weight decay (2019).
    """

    title = "Penalty too strong"
    severity = Severity.WARNING
    stage = Stage.ARCHITECTURE
    explains = STUCK | UNSTABLE | {"validation_below_training"}

    strength: float = threshold(
        0.03,
        fires="above",
        unit="factor of the L1 or L2 penalty",
        source=_MEASURED + "0.01 helped or was harmless, 0.03 cost one of the four, 0.1 nearly all",
    )
    remaining: float = threshold(
        0.05,
        fires="below",
        unit="of the kernel's initial norm",
        source=_MEASURED + "kernels that learned kept a tenth of their norm at least, collapsed "
        "ones less than a hundredth",
    )
    passed_on: float = threshold(
        0.05,
        fires="below",
        unit="of the size of what the layer reads",
        source="measured with activity_regularizer, L1 and L2, a classifier and an autoencoder of "
        "digits: 0.005 and less where nothing is learned, 0.4 and more where the model learns",
    )
    learned: float = threshold(
        0.75,
        fires="below",
        unit="share of what can be learned",
        source="a run that removed three quarters of the errors could bear the penalty",
    )

    def check(self, penalties: Regularization, outcome: TrainingOutcome | None) -> Findings:
        learned = outcome is not None and outcome.share >= self.learned
        if not learned:
            yield from self._silenced(penalties)
        yield from self._twice(penalties)
        excesses = [(kernel, self._excess(kernel)) for kernel in penalties.kernels]
        found = [(kernel, measured) for kernel, measured in excesses if measured is not None]
        if not found:
            return
        names = [kernel.layer.name for kernel, _ in found]
        worst = max((kernel for kernel, _ in found), key=lambda kernel: kernel.strength)
        left = [k.remaining for k, _ in found if k.remaining is not None]
        yield self.finding(
            f"The penalty of {listed(names)} has a factor of {worst.strength:g}"
            + (f" and left {min(left):.1%} of the kernel's norm" if left else "")
            + (f"; this run could bear it: {outcome.sentence}." if learned and outcome else "."),
            severity=Severity.INFO if learned else None,
            measurements=[measured for _, measured in found],
            layers=names,
            remedies=[
                Remedy(
                    text=f"Weaken the penalty to {_GENTLE}, which is felt only where the data are "
                    "silent. More epochs or a larger rate would shrink the weights all the more.",
                    code=change_layers(
                        penalties.setup, {k.layer.name: {_setting(k): _gentle(k)} for k, _ in found}
                    ),
                )
            ],
        )

    def _silenced(self, penalties: Regularization) -> Findings:
        for output in penalties.outputs:
            if output.remaining is not None and output.remaining < self.passed_on:
                name = output.layer.name
                yield self.finding(
                    f"The activity_regularizer of '{name}' keeps its outputs at "
                    f"{output.remaining:.1g} times the size of what it reads: nothing passes.",
                    measurements=[self.measure("passed_on", output.remaining)],
                    layers=[name],
                    remedies=[
                        Remedy(
                            text="Weaken the penalty on the outputs until the layer passes on "
                            "something again. Other rates would follow the same penalty.",
                            code=change_layers(
                                penalties.setup, {name: {"activity_regularizer": _GENTLE_OUTPUTS}}
                            ),
                        )
                    ],
                )

    def _twice(self, penalties: Regularization) -> Findings:
        optimizer = penalties.setup.optimizer
        shrunk = [k.layer.name for k in penalties.kernels if k.weight.l2 > 0]
        if optimizer and optimizer.weight_decay and shrunk:
            yield self.finding(
                f"Weight decay {optimizer.weight_decay:g} shrinks what an L2 penalty shrinks.",
                severity=Severity.INFO,
                layers=shrunk,
                remedies=[Remedy(text="Keep one of the two; under Adam, weight decay.")],
            )

    def _excess(self, kernel: Penalized) -> Measurement | None:
        if kernel.remaining is not None and kernel.remaining < self.remaining:
            return self.measure("remaining", kernel.remaining)
        if kernel.strength > self.strength:
            return self.measure("strength", kernel.strength)
        return None


def _setting(kernel: Penalized) -> str:
    return f"{kernel.weight.name}_regularizer"


def _gentle(kernel: Penalized) -> Code:
    law = "L1" if kernel.weight.l1 > kernel.weight.l2 else "L2"
    return Code(f"keras.regularizers.{law}({_GENTLE})")
