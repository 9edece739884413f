from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.output_head import Head
from lossdoctor.evidence.predictions import Saturation
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.capacity import record_it
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._rule import Findings, Rule, threshold


@dataclass(frozen=True, kw_only=True)
class SaturatedOutput(Rule):
    """The output answers 0 or 1 with full certainty, and is wrong.

    **What it detects.** Training examples predicted 0 or 1 to machine precision against their
    label; in a history alone, a cross-entropy that is a clip constant times the error rate.

    **Why it matters.** A probability of exactly 0 for the right class has no gradient once it is
    clipped, and a nearly vanishing one through the sigmoid: these examples are never corrected.
    The loss then counts errors, at 15 to 16 each, and no longer says how close the model is.

    **How it is measured.** Share of examples whose prediction lies within 1e-6 of 0 or 1 and whose
    decided class is wrong. In a history: loss ÷ (1 - accuracy) of the last three epochs within
    0.2 % of 15.33, 15.42, 15.94, 16.12 or 20.72, the logarithms of the clips in use.

    **How to fix it.** It shows that outputs saturate, not why: scale the inputs where the untrained
    model is this sure already, else start again with smaller steps.

    **When it is wrong.** In a history of a weighted, smoothed or regularized loss the ratio means
    nothing. Few wrong labels in otherwise separable data stay below the threshold.

    **References.** The ratio was seen in seven of seven saturated public runs, and in no other six.
    """

    title = "Certain and wrong"
    severity = Severity.ERROR
    stage = Stage.STEP_SIZE
    explains = frozenset(
        {"constant_predictions", "loss_metric_divergence", "loss_plateau", "underfitting"}
    )

    wrong_share: float = threshold(
        0.05,
        fires="above",
        unit="share of training examples",
        source="Reasoning: one in twenty is more than the label noise of common data sets "
        "(Northcutt et al. 2021: 3.4 % on average).",
    )

    def check(self, saturation: Saturation) -> Findings:
        for head, share in saturation.wrong_and_sure:
            if share > self.wrong_share and saturation.setup is not None:
                yield self._certain(saturation.setup, head, share, saturation.sure_before_training)
        if saturation.clipped is not None and saturation.error_rate is not None:
            yield self.finding(
                f"The loss is {saturation.clipped:.2f} times the error rate of "
                f"{saturation.error_rate:.1%}: every error costs the logarithm of the clip, so "
                "each is made with full certainty.",
                severity=Severity.WARNING,
                measurements=[Measurement(name="loss / error rate", value=saturation.clipped)],
                remedies=[
                    record_it(
                        "the scale of the inputs and of the updates tells why the outputs saturate"
                    )
                ],
            )

    def _certain(self, setup: Setup, head: Head, share: float, from_start: bool) -> Finding:
        when = "before its first step already" if from_start else "at the end of training"
        return self.finding(
            f"{head.label} gives {share:.0%} of the training examples a probability of exactly 0 "
            f"or 1 and the wrong class; the model was this sure {when}.",
            measurements=[self.measure("wrong_share", share)],
            layers=head.layer_names,
            remedies=[_scale_inputs(setup) if from_start else _smaller_steps(setup)],
        )


def _scale_inputs(setup: Setup) -> Remedy:
    return Remedy(
        text="Standardize the inputs: an untrained model is only this sure when they are large.",
        code="mean, std = np.mean(X, axis=0), np.std(X, axis=0) + 1e-7\n"
        + "\n".join(f"{x} = ({x} - mean) / std" for x in setup.sides("X")),
    )


def _smaller_steps(setup: Setup) -> Remedy:
    rate = setup.optimizer.learning_rate if setup.optimizer else None
    return Remedy(
        text="Start again from fresh weights with a tenth of the learning rate: the steps took the "
        "outputs to where they have no gradient.",
        code="" if rate is None else compile_code(setup, learning_rate=rate / 10),
    )
