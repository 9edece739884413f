import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord
from tests.records import config_record, findings_of, learned, mlp, outcome_of

SLUG = "class_imbalance"
RARE = np.array([1] * 10 + [0] * 490)
SPARSE = {"model": mlp(units=3, activation="softmax"), "loss": "sparse_categorical_crossentropy"}
BINARY = {"model": mlp(activation="sigmoid"), "loss": "binary_crossentropy"}


def found(y, **fields):
    return findings_of(SLUG, config_record(y=y, **{**BINARY, **fields}))


def test_a_rare_class():
    (finding,) = found(RARE)
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "Class 1 has 10 of 500 examples, 4.0% of its fair share; always answering the most "
        "frequent class is 98.0% accurate."
    )
    names = {}
    exec(finding.remedies[0].code, names)
    assert names["class_weight"] == pytest.approx({0: 0.5102, 1: 25.0})


def test_the_threshold_is_a_tenth_of_the_fair_share():
    assert found(np.array([1] * 25 + [0] * 475)) == ()
    assert len(found(np.array([1] * 24 + [0] * 476))) == 1


def test_one_hot_rows_and_signs():
    ids = np.array([0] * 200 + [1] * 200 + [2] * 5)
    categorical = {**SPARSE, "loss": "categorical_crossentropy"}
    (finding,) = found(np.eye(3)[ids], **categorical)
    assert "Class 2 has 5 of 405" in finding.message
    (finding,) = found(2 * RARE - 1, model=mlp(activation="tanh"), loss="hinge")
    names = {"y": 2 * RARE - 1, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["sample_weight"][0] == pytest.approx(25.0)


def test_silent_where_weights_make_up_for_it():
    for fit in (FitRecord(class_weight=True), FitRecord(sample_weight=True)):
        assert found(RARE, fit=fit) == ()


def test_information_with_metrics_for_rare_classes_or_a_run_that_tells_them_apart():
    assert found(RARE, metrics={"auc": "AUC"})[0].severity is Severity.INFO
    record = config_record(y=RARE, **BINARY)
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(record, 0.0))[0].severity is Severity.WARNING


def test_a_class_that_never_occurs_is_for_another_rule():
    assert found(np.array([0, 2] * 50), **SPARSE) == ()


def test_not_applicable_to_quantities_many_labels_and_masks():
    for fields, y in [
        ({"model": mlp(), "loss": "mean_squared_error"}, np.linspace(0, 1, 50)),
        ({"model": mlp(units=4, activation="sigmoid")}, np.eye(4)[RARE] + np.eye(4)[2]),
    ]:
        assert outcome_of(SLUG, config_record(y=y, **{**BINARY, **fields})).status == (
            "not_applicable"
        )
    model = mlp(activation="sigmoid")
    output = dataclasses.replace(model.outputs[0], shape=(None, 8, 8, 1))
    masks = np.zeros((20, 8, 8, 1))
    masks[0, 0, 0] = 1
    record = config_record(
        model=dataclasses.replace(model, outputs=(output,)), loss="binary_crossentropy", y=masks
    )
    assert outcome_of(SLUG, record).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


@pytest.mark.parametrize(("share", "fires"), [(0.04, True), (0.06, False)])
def test_weights_that_silence_a_class(share, fires):
    base = config_record(y=np.arange(500) % 2, **BINARY, fit=FitRecord(class_weight=True))
    weighted = ((0.0, 1 - share), (1.0, share))
    train = dataclasses.replace(base.train, weighted_classes=weighted)
    found = findings_of(SLUG, dataclasses.replace(base, train=train))
    assert bool(found) is fires
    if fires:
        assert "leave class 1 only 8.0% of its fair share" in found[0].message
