"""Bring loss, labels and head of one output into agreement, changing as little as possible."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossdoctor.evidence.label_encoding import Judged, Kind, Labels
from lossdoctor.evidence.output_head import NUMBER_LOSSES, ONE_UNIT_PER_CLASS, Head, LossFamily
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import (
    Code,
    compile_code,
    layer_code,
    loss_object,
    rebuild_code,
)

CLASSIFICATION_METRICS = frozenset(
    {
        "acc",
        "accuracy",
        "binary_accuracy",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy",
    }
)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A loss, a head and an encoding of the labels that belong together.

    `loss` is None where the compiled one stays. `encode` is an expression that turns the user's
    labels, written `{y}`, into what the loss expects; empty where they stay as they are.
    """

    activation: str
    units: int
    loss: str | Code | None = None
    encode: str = ""
    prepare: str = ""
    """Code that must run before `encode`."""


def fitting(judged: Judged) -> Contract:
    """The contract for these labels, keeping the compiled loss where it suits them."""
    labels, family = judged.labels, judged.family
    two_values = labels.one_column and labels.kind in (Kind.BINARY, Kind.SIGN)
    if family is LossFamily.HINGE and two_values:
        encode = to_signs(labels) if labels.kind is Kind.BINARY else ""
        return Contract(activation="tanh", units=1, encode=encode)
    if family is LossFamily.BINARY and labels.kind in (
        Kind.BINARY,
        Kind.MULTI_LABEL,
        Kind.UNIT_INTERVAL,
    ):
        return Contract(activation="sigmoid", units=labels.columns)
    if family is LossFamily.SPARSE and labels.one_column and labels.may_be_ids:
        return dataclasses.replace(class_ids(labels, judged.head.units), loss=None)
    if family in (LossFamily.CATEGORICAL, LossFamily.DIVERGENCE) and labels.may_be_rows:
        return Contract(activation="softmax", units=labels.columns)
    if family is LossFamily.CATEGORICAL_HINGE and labels.kind is Kind.ONE_HOT:
        return Contract(activation="linear", units=labels.columns)
    angle_of_numbers = family is LossFamily.DIRECTION and labels.one_column
    if family in NUMBER_LOSSES and not labels.are_classes and not angle_of_numbers:
        return Contract(activation=_number_activation(judged), units=labels.columns)
    return suited_to(labels)


def suited_to(labels: Labels) -> Contract:
    """The contract for labels of this kind, whatever the compiled loss."""
    width = labels.columns
    if labels.may_be_rows:
        return Contract(activation="softmax", units=width, loss="categorical_crossentropy")
    if labels.kind is Kind.MULTI_LABEL:
        return Contract(activation="sigmoid", units=width, loss="binary_crossentropy")
    if labels.one_column and labels.kind in (Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES):
        return zero_one(labels)
    if labels.one_column and labels.may_be_ids:
        return class_ids(labels)
    return numbers(labels)


def zero_one(labels: Labels) -> Contract:
    """One sigmoid unit, labels 0 and 1, binary cross-entropy."""
    encode = ""
    if labels.kind is not Kind.BINARY:
        middle = (labels.low + labels.high) / 2
        encode = f'(np.asarray({{y}}) > {middle:g}).astype("float32")'
    return Contract(activation="sigmoid", units=1, loss="binary_crossentropy", encode=encode)


def class_ids(labels: Labels, at_least: int | None = None) -> Contract:
    """One softmax unit per class and no fewer than `at_least`, ids from 0, the sparse loss."""
    encode, prepare, units = "", "", labels.classes
    if labels.low == 0 and (labels.contiguous or labels.kind is Kind.CLASS_IDS):
        units = round(labels.high) + 1
    elif labels.contiguous:
        encode = f"np.asarray({{y}}) - {labels.low:g}"
    else:
        prepare, encode = "classes = np.unique(y)", "np.searchsorted(classes, {y})"
    return Contract(
        activation="softmax",
        units=max(units, at_least or 0, 2),
        loss="sparse_categorical_crossentropy",
        encode=encode,
        prepare=prepare,
    )


def numbers(labels: Labels) -> Contract:
    """Linear units and the mean squared error, on targets of the scale a fresh head starts at."""
    return Contract(
        activation="linear",
        units=labels.columns,
        loss="mse",
        encode=standardized(labels) if labels.beyond_unit_scale else "",
    )


def standardized(labels: Labels) -> str:
    """Expression that brings the targets to mean 0 and standard deviation 1."""
    shift = f"(np.asarray({{y}}) - {labels.mean:.6g})" if labels.mean else "np.asarray({y})"
    return f"{shift} / {labels.std:.6g}"


def into_domain(judged: Judged) -> tuple[Contract, str]:
    """How labels outside the domain of their loss get into it, or which loss takes them."""
    labels, family = judged.labels, judged.family
    if family in (LossFamily.LOGARITHMIC, LossFamily.POISSON):
        return numbers(labels), "Train with mse: it is defined for negative targets too."
    if family is LossFamily.PERCENTAGE:
        mae = dataclasses.replace(numbers(labels), loss="mae")
        return mae, "Train with mae: an error relative to a target of 0 is not defined."
    if judged.padded:
        logits = {"from_logits": True} if judged.head.loss.from_logits else {}
        loss = _loss_with(judged.head, ignore_class=-1, **logits)
        kept = Contract(activation=judged.head.activation or "", units=judged.head.units or 0)
        text = "Let the loss leave out the positions that hold -1: they are padding and no class."
        return dataclasses.replace(kept, loss=loss), text
    if family is LossFamily.SPARSE:
        return fitting(judged), "Let the ids count from 0, so that each names its unit."
    if family is LossFamily.HINGE and labels.classes > 2:
        text = "Hinge tells two classes apart; train one softmax unit per class instead."
        return class_ids(labels), text
    if family is LossFamily.HINGE:
        activation = judged.head.activation if judged.head.activation == "linear" else "tanh"
        signs = Contract(activation=activation, units=labels.columns, encode=to_signs(labels))
        return signs, "Map the two labels to -1 and 1, the two sides of the margin."
    return _into_unit_interval(judged)


def _into_unit_interval(judged: Judged) -> tuple[Contract, str]:
    labels = judged.labels
    activation = "softmax" if judged.family is LossFamily.CATEGORICAL else "sigmoid"
    kept = Contract(activation=activation, units=labels.columns)
    if labels.one_column and labels.kind in (Kind.SIGN, Kind.TWO_VALUES):
        return dataclasses.replace(zero_one(labels), loss=None), "Map the two labels to 0 and 1."
    if labels.kind is Kind.SIGN:
        encode = '(np.asarray({y}) > 0).astype("float32")'
        return dataclasses.replace(kept, encode=encode), "Map the labels -1 to 0."
    if labels.kind is Kind.CONTINUOUS:
        return dataclasses.replace(kept, encode="np.clip({y}, 0, 1)"), "Clip the labels to [0, 1]."
    low, high = labels.scale_ends
    shifted = f" - {low:g}" if low else ""
    encode = f'(np.asarray({{y}}, dtype="float32"){shifted}) / {high - low:g}'
    return dataclasses.replace(kept, encode=encode), "Scale the labels to [0, 1]."


def _number_activation(judged: Judged) -> str:
    """The simplest activation that reaches every target and nothing its loss cannot take."""
    if judged.family is LossFamily.POISSON:
        return "softplus"
    if judged.labels.kind is Kind.UNIT_INTERVAL and judged.head.is_sigmoid:
        return "sigmoid"
    return "linear"


def to_signs(labels: Labels) -> str:
    """Expression that maps two label values to -1 and 1."""
    middle = (labels.low + labels.high) / 2
    return f'np.where(np.asarray({{y}}) > {middle:g}, 1.0, -1.0).astype("float32")'


def agree(setup: Setup, judged: Judged, contract: Contract, text: str) -> Remedy:
    """A remedy that puts `contract` into force, with code where it can be written."""
    return Remedy(text=text, code=contract_code(setup, judged.head, contract))


def contract_code(setup: Setup, head: Head, contract: Contract) -> str:
    """Code that puts `contract` into force; empty where the model cannot be rewritten by code."""
    if len(setup.model.outputs) != 1:
        return ""
    lines = []
    if contract.encode:
        lines += [contract.prepare] if contract.prepare else []
        lines += encode_lines(setup, contract.encode)
    # A loss that stays and reads logits wants the head linear, not a probability.
    reads_logits = contract.loss is None and bool(head.loss.from_logits)
    activation = "linear" if reads_logits else contract.activation
    compiled = _compile_line(setup, head, contract)
    if contract.units != head.units or activation != head.activation:
        rebuilt = head_code(setup, head, contract.units, activation, compiled)
        if not rebuilt:
            return ""
        lines.append(rebuilt)
    elif contract.loss is not None:
        lines.append(compiled)
    return "\n".join(lines)


def encode_lines(setup: Setup, expression: str) -> list[str]:
    """`y = expression` for the training labels, and for those of the validation data if any."""
    return [f"{name} = {expression.replace('{y}', name)}" for name in setup.known_sides("y")]


def _compile_line(setup: Setup, head: Head, contract: Contract) -> str:
    kept_for_numbers = contract.loss is None and head.family in NUMBER_LOSSES
    regression = kept_for_numbers or contract.loss in ("mse", "mae")
    shown = [
        ("mae" if regression else "accuracy") if name in CLASSIFICATION_METRICS else name
        for name in (metric.requested for metric in setup.metrics)
    ]
    return compile_code(setup, loss=contract.loss, metrics=list(dict.fromkeys(shown)))


def head_code(setup: Setup, head: Head, units: int, activation: str, compile_line: str) -> str:
    """Code that gives the model a head of `units` with `activation`; empty where the head is not
    one code can rewrite (subclassed models, custom layers)."""
    layer = head.layer
    if layer is None or not setup.model.graph_known:
        return ""
    width = {key: units for key in ("units", "filters") if key in layer.config}
    if units == head.units:
        width = {}
    plain = "wrapper" not in layer.config and not head.recurrent
    acting = head.activation_layers
    if plain and "activation" in layer.config and not acting and (width or units == head.units):
        return rebuild_code(
            setup, {layer.name: width | {"activation": activation}}, compile_line=compile_line
        )
    if plain and len(acting) == 1 and acting[0].class_name == "Activation":
        changes: dict[str, Mapping[str, Any]] = {acting[0].name: {"activation": activation}}
        inner = {"activation": "linear"} if layer.activation not in (None, "linear") else {}
        if width or inner:
            changes[layer.name] = width | inner
        if width or units == head.units:
            return rebuild_code(setup, changes, compile_line=compile_line)
    return _new_layer_code(setup, head, units, activation, compile_line)


def _new_layer_code(
    setup: Setup, head: Head, units: int, activation: str, compile_line: str
) -> str:
    layer = head.layer
    assert layer is not None
    if layer.class_name == "Dense" and len(head.tail) == len(head.activation_layers):
        new = f'keras.layers.Dense({units}, activation="{activation}")'
        features = f"{layer_code(setup, layer.name)}.input"
        if any(other.config.get("mask_zero") for other in setup.model.layers):
            features = f"keras.tree.flatten({features})[0]"  # behind it stands the mask
    elif head.activation == "linear" and units == head.units:
        new, features = f'keras.layers.Activation("{activation}")', "model.outputs[0]"
    elif head.recurrent:
        new = f'keras.layers.Dense({units}, activation="{activation}")'
        features = "model.outputs[0]"
    else:
        return ""
    return (
        f"outputs = {new}({features})\nmodel = keras.Model(model.inputs, outputs)\n{compile_line}"
    )


def from_logits_loss(head: Head) -> Code:
    """The present loss, told to expect logits."""
    return _loss_with(head, from_logits=True)


def probabilities_loss(head: Head) -> str | Code:
    """The present loss, told to expect probabilities."""
    return _loss_with(head) if head.loss.label_smoothing else head.loss.name


def _loss_with(head: Head, **options: Any) -> Code:
    if head.loss.label_smoothing:
        options["label_smoothing"] = head.loss.label_smoothing
    return loss_object(head.loss.name, **options)


def reaching(judged: Judged) -> tuple[Contract, str]:
    """The head that reaches all targets under the present loss, and why that one."""
    labels, family = judged.labels, judged.family
    if family is LossFamily.HINGE:
        text = "Give the head a tanh, which reaches -1 and 1; a linear head would do as well."
        return Contract(activation="tanh", units=labels.columns), text
    if family is LossFamily.POISSON:
        text = "Give the head a softplus: a rate is positive, and its logarithm then exists."
        return Contract(activation="softplus", units=labels.columns), text
    if labels.kind is Kind.MULTI_LABEL:
        text = "Give the head a sigmoid, so that several units can be near 1 at once."
        return Contract(activation="sigmoid", units=labels.columns), text
    if labels.one_column and labels.kind in (Kind.SIGN, Kind.TWO_VALUES):
        text = "Map the two labels to 0 and 1 and train a sigmoid with binary_crossentropy."
        return zero_one(labels), text
    linear = Contract(activation="linear", units=labels.columns)
    if family is LossFamily.REGRESSION and labels.beyond_unit_scale:
        text = (
            f"Make the head linear, so that it reaches every target, and standardize the targets: "
            f"from {labels.low:.4g} to {labels.high:.4g} they are far from what a fresh head gives."
        )
        return dataclasses.replace(linear, encode=standardized(labels)), text
    return linear, "Make the head linear: it reaches every target, and its gradient never fades."


def for_task(judged: Judged) -> tuple[Contract, str]:
    """The contract of the task the labels show, and why that one."""
    labels, head = judged.labels, judged.head
    if judged.numbers_under_class_loss:
        text = "Train with mse and a linear head: the targets are quantities, so this is regression"
        scaled = ", and standardize them to the scale a fresh head starts at."
        return numbers(labels), text + (scaled if labels.beyond_unit_scale else ".")
    if judged.family in NUMBER_LOSSES and labels.one_column and labels.are_classes:
        if labels.kind is Kind.BINARY and head.units == 1:
            text = "Train with binary_crossentropy and a sigmoid: the labels are two classes."
            return zero_one(labels), text
        text = "Train one softmax unit per class with the sparse loss, which reads class ids."
        return class_ids(labels, at_least=head.units if head.is_softmax else None), text
    if judged.family is LossFamily.DIRECTION:
        return numbers(labels), "Train with mse: it compares the numbers themselves."
    if labels.kind in (Kind.MULTI_LABEL, Kind.UNIT_INTERVAL):
        text = "Train one sigmoid per label with binary_crossentropy: each may be 1 or 0."
        return Contract(
            activation="sigmoid", units=labels.columns, loss="binary_crossentropy"
        ), text
    if judged.family in ONE_UNIT_PER_CLASS:
        text = "Give the head a softmax: the classes exclude each other, so they share one sum."
        return Contract(activation="softmax", units=head.units or labels.classes), text
    text = (
        "Train with categorical_crossentropy and a softmax: the classes exclude each other, and "
        "its gradient is largest where the model is wrong."
    )
    return Contract(
        activation="softmax", units=labels.columns, loss="categorical_crossentropy"
    ), text
