import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LayerRecord, LossRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

BITS = np.arange(100) % 2
LINEAR = mlp(activation="linear")


def of(model, loss="binary_crossentropy", y=BITS, **fields):
    return findings_of(
        "missing_final_activation", config_record(model=model, loss=loss, y=y, **fields)
    )


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "softplus", "elu", "gelu"])
def test_fires_on_heads_that_return_no_probability(activation):
    (finding,) = of(mlp(activation=activation))
    assert finding.severity is Severity.ERROR
    assert f"returns {activation} values" in finding.message
    assert '"activation": "sigmoid"' in finding.remedies[0].code


def test_offers_from_logits_for_a_linear_head_only():
    (finding,) = of(LINEAR)
    assert "BinaryCrossentropy(from_logits=True)" in finding.remedies[1].code
    assert len(of(mlp(activation="relu"))[0].remedies) == 1


def test_several_classes_get_a_softmax():
    model = mlp(units=3, activation="linear")
    (finding,) = of(model, "sparse_categorical_crossentropy", np.arange(90) % 3)
    assert '"activation": "softmax"' in finding.remedies[0].code
    assert "units" not in finding.remedies[0].code


def test_replaces_a_separate_activation_layer():
    tail = LayerRecord(
        name="act", class_name="Activation", activation="relu", inbound=(2,), config={}
    )
    model = mlp(units=1, activation="linear", extra_layers=(tail,))
    output = dataclasses.replace(model.outputs[0], activation="relu", name="act")
    model = dataclasses.replace(model, outputs=(output,))
    (finding,) = of(model)
    assert '"act": {"activation": "sigmoid"}' in finding.remedies[0].code


def test_decides_an_unknown_head_by_what_it_predicted():
    unknown = mlp(activation=None)
    (finding,) = of(unknown, predictions=np.linspace(-3, 3, 100))
    assert "values outside [0, 1]" in finding.message
    assert finding.measurements[0].value == -3
    assert not of(unknown, predictions=np.linspace(0, 1, 100))
    assert not of(unknown)


def test_silent_on_probabilities_and_on_losses_that_want_logits():
    for activation in ("sigmoid", "hard_sigmoid"):
        assert not of(mlp(activation=activation))
    assert not of(mlp(units=3, activation="softmax"), "categorical_crossentropy", np.eye(3))
    assert not of(LINEAR, LossRecord(name="binary_crossentropy", from_logits=True))
    for loss in ("mean_squared_error", "hinge", "poisson", "categorical_hinge"):
        assert not of(LINEAR, loss)


def test_fires_without_labels_and_leaves_quantities_to_the_task():
    (finding,) = of(LINEAR, y=None)
    assert '"activation": "sigmoid"' in finding.remedies[0].code
    assert of(LINEAR, y=np.linspace(-5, 5, 100))


def test_not_applicable_without_a_model_or_under_an_own_loss():
    name = "missing_final_activation"
    assert outcome_of(name, RunRecord(source="history")).status == "not_applicable"
    own = config_record(model=LINEAR, loss=LossRecord(name="mine", custom=True))
    assert outcome_of(name, own).status == "not_applicable"
    step = dataclasses.replace(LINEAR, custom_train_step=True)
    outcome = outcome_of(name, config_record(model=step, loss="binary_crossentropy"))
    assert "train_step" in outcome.reason


@pytest.mark.parametrize(("size", "count"), [(15, 1), (3, 0)])
def test_a_softmax_over_positions_is_no_distribution_over_classes(size, count):
    model = mlp(units=3, activation="softmax")
    output = dataclasses.replace(model.outputs[0], shape=(None, 15, 3), softmax_axis_size=size)
    tail = LayerRecord(
        name="softmax", class_name="Softmax", activation="softmax", inbound=(2,), config={"axis": 1}
    )
    model = dataclasses.replace(model, layers=(*model.layers, tail), outputs=(output,))
    y = np.zeros((100, 15), dtype=int)
    found = of(model, "sparse_categorical_crossentropy", y)
    assert len(found) == count
    if found:
        assert "15 positions instead of the 3 classes" in found[0].message
        assert '"softmax": {"axis": -1}' in found[0].remedies[0].code
