import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

LABELS = np.array([0, 1] * 50)
CONTINUOUS = np.linspace(-1, 1, 100)


def test_fires_and_proposes_a_sigmoid_for_two_classes():
    record = config_record(model=mlp(activation="softmax"), loss="binary_crossentropy", y=LABELS)
    (finding,) = findings_of("single_unit_softmax", record)
    assert finding.severity is Severity.ERROR
    assert "returns 1.0 for every example; the loss hides it" in finding.message
    assert '"activation": "sigmoid"' in finding.remedies[0].code
    assert finding.layers == ("dense_1",)


def test_proposes_a_linear_unit_for_continuous_targets():
    record = config_record(model=mlp(activation="softmax"), y=CONTINUOUS)
    (finding,) = findings_of("single_unit_softmax", record)
    assert '"activation": "linear"' in finding.remedies[0].code
    assert "hides" not in finding.message


def test_silent_on_two_units_and_on_a_sigmoid():
    for model in (mlp(units=2, activation="softmax"), mlp(activation="sigmoid")):
        assert not findings_of("single_unit_softmax", config_record(model=model, y=LABELS))


def test_not_applicable_without_a_model():
    outcome = outcome_of("single_unit_softmax", RunRecord(source="history"))
    assert outcome.status == "not_applicable"
    assert "LossDoctor()" in outcome.reason
