import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LayerRecord, LossRecord, MetricRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=40)
OWN_LOSS = LossRecord(name="mine", custom=True, aligns_ranks=False)


def answering(shape, *, activation="linear", recurrent=False):
    model = mlp(units=shape[-1], activation=activation)
    output = dataclasses.replace(model.outputs[0], shape=(None, *shape))
    layers = list(model.layers)
    if recurrent:
        layers[1] = LayerRecord(
            name="lstm", class_name="LSTM", config={"return_sequences": True}, inbound=(0,)
        )
    return dataclasses.replace(model, outputs=(output,), layers=tuple(layers))


def of(shape, y, loss="mean_squared_error", **options):
    return findings_of(
        "target_rank", config_record(model=answering(shape, **options), loss=loss, y=y)
    )


@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, None]])
def test_a_sequence_for_one_target_is_broadcast(y):
    (finding,) = of((5, 1), y, recurrent=True)
    assert finding.severity is Severity.ERROR
    assert "repeated for all of them" in finding.message
    assert '"lstm": {"return_sequences": False}' in finding.remedies[0].code


def test_cross_entropies_raise_and_a_flatten_is_proposed():
    one_hot = np.eye(3)[np.arange(40) % 3]
    for steps in (5, None):
        (finding,) = of((steps, 3), one_hot, "categorical_crossentropy", activation="softmax")
        assert "Keras raises at fit" in finding.message
        assert "keras.layers.Flatten()" in finding.remedies[0].code
    ids = np.arange(40) % 3
    assert of((4, 4, 3), ids, "sparse_categorical_crossentropy", activation="softmax")


def test_targets_with_other_positions():
    (finding,) = of((1,), RNG.normal(size=(40, 7, 1)))
    assert "shape (n, 7, 1)" in finding.message
    assert of((6, 1), RNG.normal(size=(40, 5, 1)))


def test_a_loss_that_aligns_nothing_sees_all_pairs():
    (finding,) = of((1,), NUMBERS, OWN_LOSS)
    assert "all n² pairs" in finding.message
    assert "y = np.reshape(y, (-1, 1))" in finding.remedies[0].code
    assert not of((1,), NUMBERS[:, None], OWN_LOSS)
    assert not of((1,), NUMBERS, LossRecord(name="mine", custom=True))


def test_a_metric_that_aligns_nothing_is_a_warning():
    record = config_record(y=NUMBERS)
    own = MetricRecord(output=0, name="r2", requested="r2", class_name="R2", aligns_ranks=False)
    (finding,) = findings_of("target_rank", dataclasses.replace(record, metrics=(own,)))
    assert finding.severity is Severity.WARNING
    aligned = dataclasses.replace(own, aligns_ranks=True)
    assert not findings_of("target_rank", dataclasses.replace(record, metrics=(aligned,)))


@pytest.mark.parametrize(
    ("shape", "y", "loss"),
    [
        ((1,), NUMBERS, "mean_squared_error"),
        ((1,), NUMBERS[:, None], "mean_squared_error"),
        ((3,), np.arange(40) % 3, "sparse_categorical_crossentropy"),
        ((3,), np.eye(3)[np.arange(40) % 3], "categorical_crossentropy"),
        ((5, 1), RNG.normal(size=(40, 5)), "mean_squared_error"),
        ((5, 1), RNG.normal(size=(40, 5, 1)), "mean_squared_error"),
        ((None, 4), RNG.integers(0, 4, (40, 5)), "sparse_categorical_crossentropy"),
        ((5, 4), RNG.integers(0, 4, (40, 5, 1)), "sparse_categorical_crossentropy"),
        ((6, 6, 1), RNG.uniform(size=(40, 6, 6)), "binary_crossentropy"),
        ((6, 6, 3), RNG.uniform(size=(40, 6, 6, 3)), "binary_crossentropy"),
    ],
)
def test_silent_on_what_keras_aligns(shape, y, loss):
    assert not of(shape, y, loss)


def test_not_applicable_without_labels():
    assert outcome_of("target_rank", RunRecord(source="history")).status == "not_applicable"
    assert outcome_of("target_rank", config_record()).status == "not_applicable"


def test_a_class_for_each_position_wants_an_answer_for_each():
    y = RNG.integers(0, 30, (40, 12))
    model = answering((30,), activation="softmax", recurrent=True)
    last = dataclasses.replace(model.layers[1], config={"return_sequences": False})
    model = dataclasses.replace(model, layers=(model.layers[0], last, *model.layers[2:]))
    record = config_record(model=model, loss="sparse_categorical_crossentropy", y=y)
    (finding,) = findings_of("target_rank", record)
    assert '"lstm": {"return_sequences": True}' in finding.remedies[0].code
    assert not of((30,), y > 20, "sparse_categorical_crossentropy", activation="softmax")


def test_validation_targets_of_another_shape():
    ids = RNG.integers(0, 10, 40)
    model = answering((10,), activation="softmax")
    fields = {"model": model, "loss": "sparse_categorical_crossentropy", "x": np.ones((40, 20))}
    one_hot = (np.ones((40, 20)), np.eye(10)[ids])
    (finding,) = findings_of("target_rank", config_record(**fields, y=ids, validation=one_hot))
    assert "validation targets" in finding.message
    column = (np.ones((40, 20)), ids[:, None])
    assert not findings_of("target_rank", config_record(**fields, y=ids, validation=column))


def test_keras_drops_a_last_axis_that_only_the_targets_have():
    assert not of((24,), RNG.normal(size=(40, 24, 1)))
    (finding,) = of((24,), RNG.normal(size=(40, 23, 1)))
    assert "shape (n, 23, 1)" in finding.message
