from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.label_encoding import Judged, LabelEncoding
from lossdoctor.evidence.output_head import CROSS_ENTROPIES, Head, LossFamily, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.architecture import change_layers
from lossdoctor.rules._remedies.code import Code
from lossdoctor.rules._remedies.labels import Contract, agree, contract_code, fitting
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class SingleUnitSoftmax(Rule):
    """A softmax over a single unit, which puts out exactly 1 for every example.

    **What it detects.** A head, or a hidden layer such as attention's scores, whose softmax
    normalizes over an axis of size 1.

    **Why it matters.** Softmax divides each entry by the sum of all entries; with one entry the
    answer is 1 for every input, whatever the weights. In Keras 3 `binary_crossentropy` reads the
    logits behind the softmax, so the loss falls like that of a correct model while `predict`
    returns 1.0 for every example and accuracy stays at the share of the positive class. Under
    the other losses the gradient is exactly zero and nothing moves.

    **How it is measured.** From the head's activation and the size of the axis it normalizes
    over, both read from the model's configuration or its computation graph, never from names.

    **How to fix it.** One unit with a sigmoid for two classes, a linear unit for regression, or as
    many units as classes.

    **When it is wrong.** Never: the output is constant by construction. What the rest of the model
    learns around a hidden one is another matter, so that is a warning.

    **References.** Goodfellow, Bengio and Courville, Deep Learning (2016), section 6.2.2.3.
    Measured on Keras 3.15.1: `tests/test_keras_facts.py`.
    """

    title = "Softmax over a single unit"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {
        "final_activation_range",
        "loss_task",
        "metric_task",
        "output_units",
        "train_inference_gap",
    }

    def check(self, outputs: OutputHeads, encoding: LabelEncoding | None) -> Findings:
        judged = {j.head.index: j for j in encoding.judged} if encoding else {}
        for head in outputs.heads:
            if head.single_unit_softmax:
                yield self.finding(
                    f"The softmax of {head.label} normalizes over 1 unit, so `predict` returns 1.0 "
                    f"for every example{_consequence(head)}.",
                    measurements=[_size_one()],
                    layers=head.layer_names,
                    remedies=[_proper_head(outputs, head, judged.get(head.index))],
                )
        heads = {name for head in outputs.heads for name in head.layer_names}
        for layer in outputs.setup.model.layers:
            if layer.name not in heads and _is_hidden_one(layer):
                yield self.finding(
                    f"The softmax of hidden layer '{layer.name}' normalizes over 1 unit: it puts "
                    "out 1.0 for whatever it reads, and what leads to it alone never learns.",
                    severity=Severity.WARNING,
                    measurements=[_size_one()],
                    layers=[layer.name],
                    remedies=[_between_positions(outputs.setup, layer)],
                )


def _size_one() -> Measurement:
    return Measurement(name="softmax axis size", value=1, unit="units", threshold=2, fires="below")


def _is_hidden_one(layer: LayerRecord) -> bool:
    width = layer.units if layer.output_shape is None else layer.output_shape[-1]
    last = layer.config.get("axis", -1) == -1
    return width == 1 and last and layer.activation == "softmax" and layer.class_name in _PLAIN


def _between_positions(setup: Setup, layer: LayerRecord) -> Remedy:
    if len(layer.output_shape or ()) < 3:
        return Remedy(
            text="A single gate between 0 and 1 is a sigmoid.",
            code=change_layers(setup, {layer.name: {"activation": "sigmoid"}}),
        )
    function, change = _OVER_POSITIONS, {"activation": Code("over_positions")}
    if layer.class_name == "Softmax":
        function, change = "", {"axis": Code("1")}
    code = change_layers(setup, {layer.name: change})
    return Remedy(
        text="Weights of positions compete with one another: normalize over the axis of positions.",
        code=function + code if code else "",
    )


def _consequence(head: Head) -> str:
    if head.family is LossFamily.BINARY and head.logits_reach_the_loss:
        return (
            "; the loss hides it, because Keras computes binary cross-entropy from the logits "
            "behind the softmax"
        )
    if head.family in CROSS_ENTROPIES:
        return ""
    return ", and its gradient is exactly zero"


def _proper_head(outputs: OutputHeads, head: Head, judged: Judged | None) -> Remedy:
    if judged is None:
        contract = _guess(head)
        text = f"Give {head.label} activation={contract.activation!r}: {_WHY[contract.activation]}."
        return Remedy(text=text, code=contract_code(outputs.setup, head, contract))
    contract = fitting(judged)
    units = f"{contract.units} unit{'s' if contract.units > 1 else ''}"
    loss = f" and train with {contract.loss}" if contract.loss else ""
    text = (
        f"Give {head.label} {units} with activation={contract.activation!r}{loss}, for "
        f"{judged.labels.described}: {_WHY[contract.activation]}."
    )
    return agree(outputs.setup, judged, contract, text)


def _guess(head: Head) -> Contract:
    numbers = head.targets is not None and not head.targets.integral
    return Contract(activation="linear" if numbers else "sigmoid", units=1)


_WHY = {
    "linear": "a number needs an unbounded output",
    "sigmoid": "one probability for the positive class needs a sigmoid",
    "softmax": "a softmax needs one unit per class",
    "softplus": "a rate needs an output that is always positive",
    "tanh": "labels -1 and 1 need an output that reaches both",
}
_PLAIN = {"Activation", "Conv1D", "Conv2D", "Dense", "Softmax"}
_OVER_POSITIONS = """\
def over_positions(scores):
    return keras.ops.softmax(scores, axis=1)


"""
