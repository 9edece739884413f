import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

BITS = np.arange(100) % 2
TANH = mlp(activation="tanh")


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_fires_as_a_warning_that_says_keras_repairs_it(loss):
    (finding,) = findings_of("hinge_label_encoding", config_record(model=TANH, loss=loss, y=BITS))
    assert finding.severity is Severity.WARNING
    assert "training is not affected" in finding.message
    assert finding.remedies[0].code.startswith("y = np.where(np.asarray(y) > 0.5, 1.0, -1.0)")


def test_validation_labels_are_mapped_where_there_are_any():
    record = config_record(model=TANH, loss="hinge", y=BITS, fit=FitRecord(has_validation=False))
    assert "y_val" not in findings_of("hinge_label_encoding", record)[0].remedies[0].code
    record = config_record(model=TANH, loss="hinge", y=BITS, fit=FitRecord(has_validation=True))
    assert "y_val" in findings_of("hinge_label_encoding", record)[0].remedies[0].code


def test_fires_on_one_hot_rows_too():
    record = config_record(model=mlp(units=2, activation="tanh"), loss="hinge", y=np.eye(2)[BITS])
    assert findings_of("hinge_label_encoding", record)


def test_silent_on_signs_on_other_labels_and_under_other_losses():
    for labels in (2 * BITS - 1, BITS + 1, np.arange(100) % 3):
        record = config_record(model=TANH, loss="hinge", y=labels)
        assert not findings_of("hinge_label_encoding", record)
    one_hot = config_record(model=mlp(units=2), loss="categorical_hinge", y=np.eye(2)[BITS])
    assert not findings_of("hinge_label_encoding", one_hot)
    assert not findings_of("hinge_label_encoding", config_record(y=BITS))


def test_not_applicable_without_labels():
    outcome = outcome_of("hinge_label_encoding", RunRecord(source="history"))
    assert outcome.status == "not_applicable"
