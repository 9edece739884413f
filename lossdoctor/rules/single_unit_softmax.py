from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.output_head import Head, OutputHeads
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._remedies.code import compile_code, rebuild_code
from lossdoctor.rules._rule import Findings, Rule

_BINARY_LOSSES = {"binary_crossentropy", "binary_focal_crossentropy"}


@dataclass(frozen=True, kw_only=True)
class SingleUnitSoftmax(Rule):
    """A softmax over a single unit: every prediction is exactly 1.

    **What it detects.** A head whose softmax normalizes over an axis of size 1.

    **Why it matters.** Softmax divides each entry by the sum of all entries; with one entry the
    answer is 1 for every input, whatever the weights. In Keras 3 `binary_crossentropy` reads the
    logits behind the softmax, so the loss falls like that of a correct model while `predict`
    returns 1.0 for every example and accuracy stays at the share of the positive class.

    **How it is measured.** From the head's activation and the size of the axis it normalizes
    over, both read from the model's configuration or its computation graph, never from names.

    **How to fix it.** One unit with a sigmoid for two classes, a linear unit for regression, or as
    many units as classes.

    **When it is wrong.** Never: the output is constant by construction.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.3.
    Measured on Keras 3.15.1: `tests/test_keras_facts.py`.
    """

    title = "Softmax over a single unit"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = frozenset({"constant_predictions", "loss_plateau", "stalled_updates"})

    def check(self, outputs: OutputHeads) -> Findings:
        for head in outputs.heads:
            if head.output.activation == "softmax" and head.output.softmax_axis_size == 1:
                hidden = head.loss.name in _BINARY_LOSSES
                yield self.finding(
                    f"The softmax of {head.label} normalizes over 1 unit, so `predict` returns 1.0 "
                    "for every example"
                    + (
                        "; the loss hides it, because Keras computes binary cross-entropy from "
                        "the logits behind the softmax."
                        if hidden
                        else "."
                    ),
                    measurements=[
                        Measurement(
                            name="softmax axis size",
                            value=1,
                            unit="units",
                            threshold=2,
                            fires="below",
                        )
                    ],
                    layers=[head.layer.name] if head.layer else [],
                    remedies=[_proper_head(head, outputs)],
                )


def _proper_head(head: Head, outputs: OutputHeads) -> Remedy:
    targets = head.targets
    continuous = targets is not None and not targets.integral
    activation = "linear" if continuous else "sigmoid"
    loss = "mse" if continuous else "binary_crossentropy"
    why = (
        "a continuous target needs an unbounded output"
        if continuous
        else "one probability for the positive class needs a sigmoid"
    )
    text = f"Give {head.label} activation={activation!r} and train with {loss}: {why}."
    if head.layer is None:
        return Remedy(text=text)
    line = compile_code(outputs.setup, loss=loss)
    return Remedy(
        text=text,
        code=rebuild_code(
            outputs.setup, {head.layer.name: {"activation": activation}}, compile_line=line
        ),
    )
