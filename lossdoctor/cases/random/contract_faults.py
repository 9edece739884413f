"""Loss, head and labels that do not belong together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lossdoctor.cases.data import Array, one_hot
from lossdoctor.cases.faults import Fault, after_head, both, class_ids, everywhere, head, setting
from lossdoctor.cases.random.fault import fault
from lossdoctor.cases.random.setups import SetUp
from lossdoctor.cases.random.tasks import Random
from lossdoctor.cases.recipe import Recipe, Spec, layer, loss
from lossdoctor.cases.twins.contract import broadcasting_loss
from lossdoctor.cases.twins.proofs import METRIC_HONESTY, PROBABILITIES
from lossdoctor.finding import Stage

_contract = partial(fault, Stage.CONTRACT)

_PROBABLE = {"sigmoid", "sparse", "one-hot", "labels"}
"""Variants whose head puts out probabilities for a cross-entropy."""


def _flat(y: Array) -> Array:
    return y.reshape(len(y))


# Heads ----------------------------------------------------------------------------------------


@_contract("single_unit_softmax")
def _softmax_on_one_unit(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"sigmoid", "regression"}:
        return head(activation="softmax")
    return None


@_contract("single_unit_softmax", "output_units")
def _one_softmax_unit_for_classes(setup: SetUp, random: Random) -> Fault | None:
    return head(units=1) if setup.variant == "sparse" else None


@_contract("missing_final_activation")
def _no_final_activation(setup: SetUp, random: Random) -> Fault | None:
    return head(activation="linear") if setup.variant in _PROBABLE else None


@_contract("missing_final_activation")
def _wrong_final_activation(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in _PROBABLE:
        return head(activation=str(random.choice(["relu", "tanh"])))
    return None


@_contract("missing_final_activation")
def _logits_not_declared(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"logits", "sparse-logits"}:
        return lambda recipe: replace(recipe, loss=_undeclared(recipe))
    return None


def _undeclared(recipe: Recipe) -> Spec:
    assert isinstance(recipe.loss, Spec)
    return Spec(recipe.loss.maker)


@_contract("double_softmax")
def _probabilities_declared_logits(setup: SetUp, random: Random) -> Fault | None:
    """The activation stands in a layer of its own, so that Keras does not see and undo it."""
    if setup.variant == "sigmoid":
        squashed, declared = "sigmoid", "BinaryCrossentropy"
    elif setup.variant == "sparse":
        squashed, declared = "softmax", "SparseCategoricalCrossentropy"
    elif setup.variant == "one-hot":
        squashed, declared = "softmax", "CategoricalCrossentropy"
    else:
        return None
    return both(
        setting(loss=loss(declared, from_logits=True)),
        both(head(activation="linear"), after_head(layer("Activation", activation=squashed))),
    )


@_contract("double_softmax")
def _softmax_twice(setup: SetUp, random: Random) -> Fault | None:
    return after_head(layer("Softmax")) if setup.variant in {"sparse", "one-hot"} else None


@_contract("final_activation_range")
def _bounded_head_for_a_quantity(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant == "regression":
        return head(activation=str(random.choice(["sigmoid", "tanh", "relu"])))
    return None


@_contract("final_activation_range")
def _sigmoid_under_hinge(setup: SetUp, random: Random) -> Fault | None:
    return head(activation="sigmoid") if setup.variant == "hinge" else None


@_contract("output_units", "labels_out_of_range")
def _too_few_units(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"sparse", "one-hot"} and setup.task.classes > 2:
        return head(units=int(random.integers(2, setup.task.classes)))
    return None


# Labels ---------------------------------------------------------------------------------------


@_contract("loss_label_encoding")
def _one_hot_labels_under_sparse_loss(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"sparse", "sparse-logits"}:
        return everywhere(y=lambda y: one_hot(y, setup.task.classes))
    return None


@_contract("loss_label_encoding")
def _class_ids_under_categorical_loss(setup: SetUp, random: Random) -> Fault | None:
    return everywhere(y=class_ids) if setup.variant == "one-hot" else None


@_contract("labels_out_of_range", "output_units")
def _labels_from_one(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"sparse", "sparse-logits"}:
        return everywhere(y=lambda y: y + 1)
    return None


@_contract("labels_out_of_range")
def _signed_or_shifted_binary_labels(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in {"sigmoid", "logits"}:
        return None
    signed = random.random() < 0.6
    return everywhere(y=lambda y: 2 * y - 1 if signed else y + 1)


@_contract("labels_out_of_range")
def _shifted_hinge_labels(setup: SetUp, random: Random) -> Fault | None:
    return everywhere(y=lambda y: (y + 3) // 2) if setup.variant == "hinge" else None


@_contract("target_rank")
def _broadcast_targets(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant == "regression":
        return both(everywhere(y=_flat), setting(loss=Spec(broadcasting_loss)))
    return None


# Losses ---------------------------------------------------------------------------------------


@_contract("loss_task")
def _squared_error_on_class_ids(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant == "sparse" and setup.task.classes > 2:
        error = str(random.choice(["mse", "mae"]))
        return both(setting(loss=error), head(units=1, activation="linear"))
    return None


@_contract("loss_task", "loss_label_encoding", "labels_out_of_range")
def _binary_loss_on_class_ids(setup: SetUp, random: Random) -> Fault | None:
    """Class ids 0, 1, 2, ... under one sigmoid unit: as for two classes."""
    if setup.variant == "sparse" and setup.task.classes > 2:
        return both(setting(loss="binary_crossentropy"), head(units=1, activation="sigmoid"))
    return None


@_contract("loss_task")
def _binary_loss_on_a_quantity(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant != "regression":
        return None
    activation = str(random.choice(["linear", "sigmoid"]))
    return both(setting(loss="binary_crossentropy"), head(activation=activation))


@_contract("loss_task", "output_units")
def _categorical_loss_on_one_unit(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant in {"regression", "sigmoid"}:
        return setting(loss="categorical_crossentropy")
    return None


@_contract("labels_out_of_range")
def _loss_for_positive_targets(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant == "regression" and (setup.recipe.data().y < 0).any():
        return setting(loss=str(random.choice(["msle", "poisson"])))
    return None


@_contract("loss_task")
def _exclusive_loss_on_labels(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant == "labels":
        return both(setting(loss="categorical_crossentropy"), head(activation="softmax"))
    return None


@_contract("loss_task", harm=lambda setup: PROBABILITIES)
def _sigmoids_under_categorical_loss(setup: SetUp, random: Random) -> Fault | None:
    return head(activation="sigmoid") if setup.variant in {"sparse", "one-hot"} else None


# Metrics --------------------------------------------------------------------------------------


@_contract("metric_task", harm=lambda setup: METRIC_HONESTY)
def _accuracy_on_a_quantity(setup: SetUp, random: Random) -> Fault | None:
    # Whoever asks for the accuracy of whole marks may rightly be told to classify them.
    if setup.variant == "regression" and setup.task.name != "rating":
        return setting(metrics=("accuracy",))
    return None
