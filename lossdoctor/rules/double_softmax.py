from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lossdoctor.evidence.output_head import Head, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.code import compile_code
from lossdoctor.rules._remedies.labels import (
    Contract,
    contract_code,
    head_code,
    probabilities_loss,
)
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class DoubleSoftmax(Rule):
    """Probabilities are squashed a second time as if they were logits.

    **What it detects.** A loss with `from_logits=True` on a head that already returns
    probabilities; two softmaxes or sigmoids in a row; a loss of your own that applies one itself
    (such as `tf.nn.softmax_cross_entropy_with_logits`) on such a head.

    **Why it matters.** The softmax of probabilities is nearly flat: over C classes the largest
    value it can reach is e / (e + C - 1), 0.58 for three, so the loss cannot fall below
    ln(1 + (C - 1)/e) and every gradient is small. With `from_logits=True` on an activation Keras
    made itself, Keras 3 finds the logits behind it, warns, and trains correctly: the
    configuration is contradictory, the training is not.

    **How it is measured.** From the two outermost activations of the head and the loss's
    configuration; a loss of your own is called on made-up scores, to see whether it behaves as
    only a cross-entropy of logits does.

    **How to fix it.** Drop `from_logits=True`, or one of the two activations.

    **When it is wrong.** A deliberate temperature or gating layer between two softmaxes is not
    reported: only activations with nothing between them are.

    **References.** Measured on Keras 3.15.1: `tests/test_keras_facts.py`.
    """

    title = "Softmax applied twice"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK

    def check(self, outputs: OutputHeads) -> Findings:
        for head in outputs.heads:
            certain = head.is_softmax or head.is_sigmoid
            if certain and head.output.inner_activation in ("softmax", "sigmoid"):
                yield self._twice(outputs.setup, head)
            elif certain and head.reads_logits:
                yield self._as_logits(outputs.setup, head)

    def _twice(self, setup: Setup, head: Head) -> Finding:
        inner = head.output.inner_activation
        ceiling = head.squashed_ceiling
        return self.finding(
            f"The {inner} before {head.label}'s {head.activation} leaves it inputs between 0 and "
            f"1, so with {head.units} units no probability can exceed {ceiling:.2f}.",
            measurements=[
                Measurement(name="highest probability", value=ceiling, threshold=1.0, fires="below")
            ],
            layers=head.layer_names,
            remedies=[
                Remedy(
                    text=f"Keep one {head.activation}: it turns scores into probabilities, and "
                    "probabilities need no second one.",
                    code=_single_activation(setup, head),
                )
            ],
        )

    def _as_logits(self, setup: Setup, head: Head) -> Finding:
        found = head.logits_reach_the_loss
        outcome = (
            "Keras finds the logits behind them, warns, and trains on those"
            if found
            else "the loss squashes them a second time"
        )
        finding = self.finding(
            f"{head.loss.name} expects logits and {head.label} returns {head.activation} "
            f"probabilities: {outcome}.",
            title="Probabilities passed as logits",
            severity=Severity.WARNING if found else None,
            layers=head.layer_names,
            remedies=[_one_side(setup, head)],
        )
        # Where Keras repairs it nothing trains better for the change: it can come last.
        return dataclasses.replace(finding, stage=Stage.BUDGET) if found else finding


def _single_activation(setup: Setup, head: Head) -> str:
    if len(setup.model.outputs) != 1 or head.units is None or head.activation is None:
        return ""
    return head_code(setup, head, head.units, head.activation, compile_code(setup))


def _one_side(setup: Setup, head: Head) -> Remedy:
    if head.loss.custom:
        text = f"Make {head.label} linear: the loss turns its scores into probabilities itself."
        linear = Contract(activation="linear", units=head.units or 1)
        return Remedy(text=text, code=contract_code(setup, head, linear))
    text = (
        f"Drop from_logits=True: {head.label} returns probabilities, which is what `predict` "
        "should give, and the loss then says what it gets."
    )
    code = compile_code(setup, loss=probabilities_loss(head)) if len(setup.losses) == 1 else ""
    return Remedy(text=text, code=code)
