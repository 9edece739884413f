import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

IDS = np.arange(120) % 3
SPARSE = {"model": mlp(units=3, activation="softmax"), "loss": "sparse_categorical_crossentropy"}


def of(y, validated=None, *, model=SPARSE["model"], loss=SPARSE["loss"], **options):
    validation = None if validated is None else (None, validated)
    record = config_record(model=model, loss=loss, y=y, validation=validation, **options)
    return findings_of("missing_class", record)


def test_a_class_in_validation_only():
    (finding,) = of(np.sort(IDS)[:80], np.sort(IDS)[80:])
    assert finding.severity is Severity.WARNING
    assert "Validation has class 2, which the 80 training labels" in finding.message
    assert "stratify" in finding.remedies[0].code


def test_with_validation_split_the_remedy_shuffles():
    (finding,) = of(np.sort(IDS)[:80], np.sort(IDS)[80:], fit=FitRecord(validation_split=0.33))
    assert "permutation" in finding.remedies[0].code


def test_one_hot_and_binary_labels():
    one_hot = np.eye(3)[np.sort(IDS)]
    softmax = mlp(units=3, activation="softmax")
    (finding,) = of(one_hot[:80], one_hot[80:], model=softmax, loss="categorical_crossentropy")
    assert finding.severity is Severity.WARNING
    bits, sigmoid = np.repeat([0, 1], 60), mlp(activation="sigmoid")
    assert of(bits[:60], bits[60:], model=sigmoid, loss="binary_crossentropy")


def test_units_without_examples_are_worth_knowing_only():
    (finding,) = of(np.where(IDS == 1, 2, IDS))
    assert finding.severity is Severity.INFO
    assert "class 1" in finding.message
    one_hot = np.eye(10)[np.arange(120) % 9 + 1]
    (finding,) = of(
        one_hot, model=mlp(units=10, activation="softmax"), loss="categorical_crossentropy"
    )
    assert "class 0" in finding.message


def test_silent_where_all_classes_are_trained():
    assert not of(IDS, IDS[:7])
    assert not of(IDS, np.array([0, 0, 1]))
    assert not of(IDS)


def test_not_applicable_to_quantities():
    numbers = config_record(y=np.linspace(0, 1, 50))
    assert "not classes" in outcome_of("missing_class", numbers).reason
    assert outcome_of("missing_class", RunRecord(source="history")).status == "not_applicable"
    without = dataclasses.replace(numbers, train=None)
    assert outcome_of("missing_class", without).status == "not_applicable"


def test_labels_that_are_all_the_same():
    sigmoid = mlp(activation="sigmoid")
    (finding,) = of(np.zeros(120), model=sigmoid, loss="binary_crossentropy")
    assert finding.severity is Severity.ERROR
    assert finding.message == (
        "All 120 training labels of layer 'dense_1' are 0, so there is nothing to tell apart."
    )
    assert of(np.full(120, 2))[0].severity is Severity.ERROR
    assert not of(np.zeros(9), model=sigmoid, loss="binary_crossentropy")
    assert not of(np.r_[np.zeros(119), 1], model=sigmoid, loss="binary_crossentropy")
