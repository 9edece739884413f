import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

IDS = np.arange(90) % 3
ONE_HOT = np.eye(3)[IDS]
NUMBERS = np.random.default_rng(0).uniform(size=(90, 8))


def of(loss, units, activation, y):
    record = config_record(model=mlp(units=units, activation=activation), loss=loss, y=y)
    return findings_of("output_units", record)


@pytest.mark.parametrize(
    ("loss", "consequence"),
    [
        ("categorical_crossentropy", "the loss is 0"),
        ("sparse_categorical_crossentropy", "NaN on GPU"),
        ("kl_divergence", "predicting 1 for every example"),
        ("categorical_hinge", "no other class"),
    ],
)
def test_fires_on_one_unit_under_a_loss_with_a_unit_per_class(loss, consequence):
    (finding,) = of(loss, 1, "sigmoid", IDS)
    assert finding.severity is Severity.ERROR
    assert consequence in finding.message
    assert '"units": 3, "activation": "softmax"' in finding.remedies[0].code
    assert 'loss="sparse_categorical_crossentropy"' in finding.remedies[0].code


def test_fires_on_a_class_without_a_unit_and_counts_them():
    (finding,) = of("sparse_categorical_crossentropy", 2, "softmax", IDS)
    assert "has 2 units for class ids 0 to 2" in finding.message
    assert finding.measurements[0].value == 2
    assert finding.measurements[0].threshold == 3
    assert not of("sparse_categorical_crossentropy", 3, "softmax", IDS)


def test_fires_on_rows_of_another_width_and_says_whether_keras_raises():
    (finding,) = of("categorical_crossentropy", 5, "softmax", ONE_HOT)
    assert "Keras raises at fit" in finding.message
    (finding,) = of("mean_squared_error", 1, "linear", NUMBERS[:, :3])
    assert "broadcast" in finding.message
    assert '"units": 3' in finding.remedies[0].code


def test_fires_on_two_sigmoids_for_one_column_of_labels():
    (finding,) = of("binary_crossentropy", 2, "sigmoid", IDS % 2)
    assert '"units": 1' in finding.remedies[0].code


def test_more_units_than_classes_is_worth_knowing_only():
    (finding,) = of("sparse_categorical_crossentropy", 10, "softmax", IDS)
    assert finding.severity is Severity.INFO
    assert "10 units and the labels show 3 classes" in finding.message


def test_silent_on_heads_that_match():
    assert not of("categorical_crossentropy", 3, "softmax", ONE_HOT)
    assert not of("binary_crossentropy", 1, "sigmoid", IDS % 2)
    assert not of("binary_crossentropy", 3, "sigmoid", ONE_HOT)
    assert not of("mean_squared_error", 1, "linear", NUMBERS[:, :1])


def test_the_ignored_class_needs_no_unit():
    labels = np.where(np.arange(90) % 9 == 0, 255, IDS)
    loss = LossRecord(
        name="sparse_categorical_crossentropy", from_logits=False, config={"ignore_class": 255}
    )
    record = config_record(model=mlp(units=3, activation="softmax"), loss=loss, y=labels)
    assert not findings_of("output_units", record)


def test_a_large_vocabulary_with_rare_words_is_not_a_mismatch():
    words = np.random.default_rng(0).integers(0, 5000, size=(300, 20))
    model = mlp(units=5000, activation="softmax")
    record = config_record(model=model, loss="sparse_categorical_crossentropy", y=words[:, 0])
    assert [f.severity for f in findings_of("output_units", record)] in ([], [Severity.INFO])


def test_not_applicable_without_labels_or_under_an_unknown_loss():
    assert outcome_of("output_units", RunRecord(source="history")).status == "not_applicable"
    assert "labels" in outcome_of("output_units", config_record()).reason
    custom = config_record(loss=LossRecord(name="mine", custom=True), y=IDS)
    assert "'mine'" in outcome_of("output_units", custom).reason
