from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, LabelEncoding
from lossdoctor.evidence.output_head import (
    CROSS_ENTROPIES,
    ONE_UNIT_PER_CLASS,
    Head,
    LossFamily,
    OutputHeads,
)
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK, UNSTABLE
from lossdoctor.rules._remedies.code import compile_code, rebuild_code
from lossdoctor.rules._remedies.labels import Contract, contract_code, fitting, from_logits_loss
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class MissingFinalActivation(Rule):
    """A cross-entropy is fed something other than probabilities.

    **What it detects.** A cross-entropy or KL divergence with `from_logits=False` on a head whose
    last activation is not a sigmoid or softmax: linear, relu, tanh and the like; a softmax that
    runs over positions (axis=1) instead of classes.

    **Why it matters.** Keras clips the output to [1e-7, 1 - 1e-7] before the logarithm. Outside
    (0, 1) the gradient is zero, so examples predicted there are never corrected, the loss jumps
    to 16 for each that is wrong, and a relu whose units are all zero gives 0/0 = NaN.

    **How it is measured.** From the head's activation in the configuration, the `Activation` and
    `Softmax` layers behind it and the computation graph, never from names. Where the last
    operation is unknown, from recorded predictions outside [0, 1].

    **How to fix it.** Give the head the activation, or keep it linear and let the loss apply it:
    `from_logits=True`.

    **When it is wrong.** A custom layer that returns probabilities is recognized by its recorded
    outputs only; before training it is reported as not decidable.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.
    Measured on Keras 3.15.1: `tests/test_keras_facts.py`.
    """

    title = "No probability at the output"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | UNSTABLE | {"metric_task"}

    def check(self, outputs: OutputHeads, encoding: LabelEncoding | None) -> Findings:
        judged = {j.head.index: j for j in encoding.judged} if encoding else {}
        for head in outputs.judged_by_keras():
            if head.family in ONE_UNIT_PER_CLASS and head.softmax_over_positions:
                size = head.output.softmax_axis_size
                yield self.finding(
                    f"The softmax of {head.label} runs over {size} positions instead of the "
                    f"{head.units} classes: the {head.units} outputs of a position are no "
                    f"distribution, as {head.loss.name} expects.",
                    measurements=[
                        Measurement(name="size of the softmax axis", value=size or 0),
                        Measurement(name="classes", value=head.units or 0),
                    ],
                    layers=head.layer_names,
                    remedies=[_positions(outputs, head)],
                )
            wants_probabilities = (
                head.family in CROSS_ENTROPIES or head.family is LossFamily.DIVERGENCE
            )
            if wants_probabilities and not head.loss.from_logits and head.is_probability is False:
                yield self.finding(
                    f"{head.loss.name} expects probabilities and {head.label} returns "
                    f"{_returned(head)}; outside (0, 1) Keras clips them and the gradient is zero.",
                    measurements=_range(head),
                    layers=head.layer_names,
                    remedies=_remedies(outputs, head, judged.get(head.index)),
                )


def _positions(outputs: OutputHeads, head: Head) -> Remedy:
    layers = [layer for layer in (*head.tail, head.layer) if layer and layer.config.get("axis")]
    code = rebuild_code(outputs.setup, {layers[0].name: {"axis": -1}}) if layers else ""
    return Remedy(
        text="Let the softmax run over the last axis, that of the classes: axis=-1, the default.",
        code=code,
    )


def _returned(head: Head) -> str:
    if head.activation is None or head.range is None:
        return "values outside [0, 1]"
    return f"{head.activation} values"


def _range(head: Head) -> list[Measurement]:
    seen = head.predictions or head.initial_predictions
    low, high = (seen.min, seen.max) if seen else (head.range or (math.nan, math.nan))
    ends = [
        Measurement(name="lowest output", value=low, threshold=0.0, fires="below"),
        Measurement(name="highest output", value=high, threshold=1.0, fires="above"),
    ]
    return [end for end in ends if math.isfinite(end.value)]


def _remedies(outputs: OutputHeads, head: Head, judged: Judged | None) -> list[Remedy]:
    contract = fitting(judged) if judged and not judged.numbers_under_class_loss else _usual(head)
    found = [
        Remedy(
            text=_instruction(head, contract),
            code=contract_code(outputs.setup, head, contract),
        )
    ]
    if head.activation == "linear" and head.family in CROSS_ENTROPIES:
        code = (
            ""
            if len(outputs.heads) > 1
            else compile_code(outputs.setup, loss=from_logits_loss(head))
        )
        text = "Or keep the head linear and tell the loss: it then works on the exact logits."
        found.append(Remedy(text=text, code=code))
    return found


def _instruction(head: Head, contract: Contract) -> str:
    if head.recurrent:
        what = (
            f"Put Dense({contract.units}, activation={contract.activation!r}) behind {head.label}"
        )
    else:
        what = f"Give {head.label} activation={contract.activation!r}"
    loss = f" and train with {contract.loss}" if contract.loss else ""
    return f"{what}{loss}: `predict` then returns the probabilities loss and accuracy expect."


def _usual(head: Head) -> Contract:
    units = head.units or 1
    sigmoid = head.family is LossFamily.BINARY or units == 1
    return Contract(activation="sigmoid" if sigmoid else "softmax", units=units)
