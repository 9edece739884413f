import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

BITS = np.arange(200) % 2
IDS = np.arange(90) % 3


def of(loss, units, activation, y, **thresholds):
    record = config_record(model=mlp(units=units, activation=activation), loss=loss, y=y)
    return findings_of("labels_out_of_range", record, **thresholds)


@pytest.mark.parametrize(("y", "middle"), [(2 * BITS - 1, "0"), (BITS + 1, "1.5"), (2 * BITS, "1")])
def test_two_labels_under_binary_crossentropy_are_mapped(y, middle):
    (finding,) = of("binary_crossentropy", 1, "sigmoid", y)
    assert finding.severity is Severity.ERROR
    assert "50.00% of the labels" in finding.message
    assert finding.remedies[0].code.startswith(f"y = (np.asarray(y) > {middle})")


def test_ids_from_one_are_shifted_and_the_head_is_left_alone():
    (finding,) = of("sparse_categorical_crossentropy", 3, "softmax", IDS + 1)
    assert "class ids 0 to 2" in finding.message
    assert finding.remedies[0].code == "y = np.asarray(y) - 1\ny_val = np.asarray(y_val) - 1"


def test_ids_with_gaps_are_numbered():
    (finding,) = of("sparse_categorical_crossentropy", 3, "softmax", np.array([0, 4, 9] * 30))
    assert "classes = np.unique(y)\ny = np.searchsorted(classes, y)" in finding.remedies[0].code


def test_bytes_are_scaled_to_the_unit_interval():
    pixels = np.random.default_rng(0).integers(0, 256, size=(60, 20))
    (finding,) = of("binary_crossentropy", 20, "sigmoid", pixels)
    assert '(np.asarray(y, dtype="float32")) / 255' in finding.remedies[0].code


@pytest.mark.parametrize("loss", ["mean_squared_logarithmic_error", "poisson"])
def test_negative_targets_by_their_share(loss):
    y = np.linspace(0.1, 5, 1000)
    y[:20] = -0.5
    (finding,) = of(loss, 1, "softplus", y)
    assert finding.severity is Severity.ERROR
    assert 'loss="mse"' in finding.remedies[0].code
    (finding,) = of(loss, 1, "softplus", y, outside_share=0.1)
    assert finding.severity is Severity.WARNING


def test_zeros_under_the_percentage_error():
    counts = np.round(np.abs(np.random.default_rng(0).normal(0, 40, 300)))
    (finding,) = of("mean_absolute_percentage_error", 1, "linear", counts)
    assert "divided by 1e-7" in finding.message
    assert 'loss="mae"' in finding.remedies[0].code


def test_hinge_labels_that_keras_does_not_convert():
    (finding,) = of("hinge", 1, "tanh", BITS + 1)
    assert "np.where(np.asarray(y) > 1.5, 1.0, -1.0)" in finding.remedies[0].code
    (finding,) = of("hinge", 1, "tanh", IDS)
    assert 'loss="sparse_categorical_crossentropy"' in finding.remedies[0].code


def test_overshoot_of_grey_levels_is_a_warning():
    grey = np.random.default_rng(0).uniform(0, 1, size=(500, 10))
    grey[0, 0] = 1.03
    (finding,) = of("binary_crossentropy", 10, "sigmoid", grey)
    assert finding.severity is Severity.WARNING
    assert "np.clip" in finding.remedies[0].code


def test_silent_on_rounding_grey_levels_and_labels_in_range():
    grey = np.random.default_rng(0).uniform(0, 1, size=(500, 10))
    grey[0, 0] = 1.00000006
    assert not of("binary_crossentropy", 10, "sigmoid", grey)
    assert not of("binary_crossentropy", 1, "sigmoid", BITS.astype(bool))
    assert not of("hinge", 1, "tanh", 2 * BITS - 1)
    assert not of("hinge", 1, "tanh", BITS)
    assert not of("sparse_categorical_crossentropy", 3, "softmax", IDS)
    assert not of("poisson", 1, "softplus", IDS)
    assert not of("mean_squared_error", 1, "linear", BITS - 5)


def test_the_ignored_class_is_not_out_of_range():
    labels = np.where(np.arange(90) % 9 == 0, -1, IDS)
    loss = LossRecord(
        name="sparse_categorical_crossentropy", from_logits=False, config={"ignore_class": -1}
    )
    record = config_record(model=mlp(units=3, activation="softmax"), loss=loss, y=labels)
    assert not findings_of("labels_out_of_range", record)


def test_not_applicable_without_labels():
    assert outcome_of("labels_out_of_range", RunRecord(source="history")).status == "not_applicable"


def test_a_class_that_went_through_a_scaler():
    scaled = (BITS - BITS.mean()) / BITS.std() + 0.08
    (finding,) = of("binary_crossentropy", 1, "sigmoid", scaled)
    assert "labels -0.92 and 1.08" in finding.message
    names = {"y": scaled, "y_val": scaled, "np": np}
    exec(finding.remedies[0].code, names)
    assert set(names["y"]) == {0, 1}
