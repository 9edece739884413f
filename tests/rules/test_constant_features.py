import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, outcome_of

SLUG = "constant_features"
X = np.random.default_rng(0).normal(size=(50, 5))


def found(x):
    return findings_of(SLUG, config_record(x=x, y=np.arange(len(x))))


def test_inputs_without_any_variation_are_an_error():
    (finding,) = found(np.zeros((50, 5)))
    assert finding.severity is Severity.ERROR
    assert "All 50 examples have the same input (0)" in finding.message
    (finding,) = found(np.tile(np.arange(5.0), (50, 1)))
    assert "numbers from 0 to 4" in finding.message
    image = np.random.default_rng(0).random((1, 8, 8, 1))
    assert found(np.repeat(image, 50, axis=0))[0].severity is Severity.ERROR


def test_single_constant_columns_are_information():
    x = X.copy()
    x[:, 3] = 7
    (finding,) = found(x)
    assert finding.severity is Severity.INFO
    assert finding.message == "1 of 5 columns of x never change (3)."


def test_silent_on_varying_data_borders_and_padding():
    assert found(X) == ()
    pixels = np.zeros((50, 64))
    pixels[:, 20:40] = np.random.default_rng(0).random((50, 20))
    assert found(pixels) == ()
    padded = np.zeros((50, 10, 3))
    padded[:, :4] = np.random.default_rng(0).random((50, 4, 3))
    assert found(padded) == ()
    assert found(np.array([[0, 0], [0, 1], [1, 0], [1, 1]])) == ()


def test_not_applicable_without_inputs_or_with_one_example():
    assert "x=" in outcome_of(SLUG, config_record(y=X[:, 0])).reason
    assert outcome_of(SLUG, config_record(x=X[:1], y=X[:1, 0])).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
