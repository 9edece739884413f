import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord, TargetPairing
from tests.records import config_record, findings_of, mlp, outcome_of, run_record, trained

SLUG = "validation_shift"
RANDOM = np.random.default_rng(0)
X, V = RANDOM.normal(size=(500, 20)), RANDOM.normal(size=(200, 20))
Y, W = X[:, 0], V[:, 0]


def record(x=X, v=V, y=Y, w=W, **fields):
    return config_record(x=x, y=y, validation=(v, w), **fields)


def found(*args, **fields):
    return findings_of(SLUG, record(*args, **fields))


def test_inputs_standardized_on_one_side_only():
    (finding,) = found(v=5 * V + 20)
    assert finding.severity is Severity.ERROR
    assert {m.name for m in finding.measurements} == {"gap", "stretch"}
    names = {"X": X, "X_val": 5 * V + 20, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X_val"].mean(axis=0) == pytest.approx(X.mean(axis=0))
    assert names["X_val"].std(axis=0) == pytest.approx(X.std(axis=0))


def test_pixels_divided_on_one_side_only():
    pixels = RANDOM.random((300, 8, 8, 1))
    (finding,) = found(pixels / 1.0, 255 * pixels, pixels[:, 0, 0, 0], pixels[:, 0, 0, 0])
    assert finding.remedies[0].code == 'X_val = np.asarray(X_val).astype("float32") / 255'
    (finding,) = found(255 * pixels, pixels / 1.0, pixels[:, 0, 0, 0], pixels[:, 0, 0, 0])
    assert finding.remedies[0].code.startswith("X = ")


def test_one_shifted_feature_is_named():
    v = V.copy()
    v[:, 3] += 2
    (finding,) = found(v=v)
    assert finding.severity is Severity.WARNING
    assert "feature number 3" in finding.message


def test_silent_on_noise_small_shifts_and_rare_features():
    assert found() == ()
    assert found(v=V[:20], w=W[:20]) == ()
    assert found(v=V + 0.7) == ()
    assert found(v=2.5 * V) == ()
    one = np.where(np.arange(20) == 3, 0.2, 1.0)
    assert found(v=one * V) == ()
    assert len(found(v=one**2 * V)) == 1
    rare = (RANDOM.random((500, 20)) < 0.01).astype(float)
    other = (RANDOM.random((200, 20)) < 0.03).astype(float)
    assert found(rare, other) == ()
    assert found(rare - 0.64, other - 0.64) == ()


def test_a_scaler_fitted_twice_narrows_every_feature():
    low, high = V.min(axis=0), V.max(axis=0)
    (finding,) = found(v=(V - low) / (high - low))
    assert finding.severity is Severity.WARNING
    assert finding.measurements[-1].value > 4
    assert found(v=0.4 * V) == ()


def test_a_side_with_few_rows_may_miss_a_rarely_lit_pixel():
    x, v = X.copy(), V[:60].copy()
    x[:, 5], v[:, 5] = 0.0, 0.0
    x[::50, 5], v[0, 5] = 1.0, 0.01
    assert found(x=x, v=v, w=W[:60]) == ()


def test_thresholds():
    def shifted(by):
        v = V - V.mean(axis=0) + X.mean(axis=0)
        return v / v.std(axis=0) * X.std(axis=0) + by * np.eye(20)[0]

    assert found(v=shifted(0.9)) == ()
    assert len(found(v=shifted(1.3))) == 1


def test_other_shares_of_the_classes():
    labels = np.repeat([0, 1], [400, 100]), np.repeat([0, 1], [60, 140])
    fields = {"model": mlp(activation="sigmoid"), "loss": "binary_crossentropy"}
    (finding,) = found(y=labels[0], w=labels[1], **fields)
    assert "50% of the examples would have to change class" in finding.message
    assert "stratify" in finding.remedies[0].code
    assert found(y=labels[0], w=labels[1], fit=FitRecord(class_weight=True), **fields) == ()
    assert found(y=np.repeat([0, 1], [300, 200]), w=np.repeat([0, 1], [100, 100]), **fields) == ()


def test_targets_of_another_scale():
    (finding,) = found(w=10 * W)
    assert finding.message.startswith("Validation y")


def test_a_run_that_predicts_validation_well_makes_it_information():
    base = record(v=V + 2)
    pairing = (TargetPairing(output=0, rows=200, r2=0.9),)
    validation = dataclasses.replace(base.validation, pairing=pairing)
    (finding,) = findings_of(SLUG, dataclasses.replace(base, validation=validation))
    assert finding.severity is Severity.INFO


def test_not_applicable_without_enough_validation():
    assert outcome_of(SLUG, config_record(x=X, y=Y)).status == "not_applicable"
    assert "fewer than 20" in outcome_of(SLUG, record(v=V[:19] + 9, w=W[:19])).reason
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_a_validation_loss_above_that_of_a_constant_is_no_harmless_shift():
    data = record(v=V + 2)
    run = trained([1.0, 0.1], val_loss=[30.0, 20.0])
    pairing = (TargetPairing(output=0, rows=200, error_rate=0.05, chance_error_rate=0.9),)
    validation = dataclasses.replace(data.validation, pairing=pairing)
    (finding,) = findings_of(SLUG, run_record(run, train=data.train, validation=validation))
    assert finding.severity is Severity.WARNING


def test_a_tail_that_differs_is_shuffled_in():
    base = record(v=V + 3)
    (finding,) = findings_of(
        SLUG, dataclasses.replace(base, fit=FitRecord(validation_split=0.3, has_validation=True))
    )
    names = {"X": X, "y": Y, "np": np}
    exec(finding.remedies[0].code, names)
    assert sorted(names["X"][:, 0]) == sorted(X[:, 0])
    assert np.array_equal(names["X"][:, 0], names["y"])


def test_targets_scaled_on_one_side_only():
    (finding,) = found(w=80 * W + 150)
    names = {"y": Y, "y_val": 80 * W + 150, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["y_val"].mean() == pytest.approx(Y.mean())
    assert names["y_val"].std() == pytest.approx(Y.std())


PROBES = {
    "signal": 0.5,
    "signal_rows": 500.0,
    "minority_rows": 250.0,
    "fold_error": 0.05,
    "validation_error": 0.5,
    "validation_error_rows": 200.0,
}


def probed(**probes):
    labels = (X[:, 0] > 0).astype(int), (V[:, 0] > 0).astype(int)
    return dataclasses.replace(record(y=labels[0], w=labels[1]), probes=PROBES | probes)


def test_what_training_teaches_does_not_hold_in_validation():
    (finding,) = findings_of(SLUG, probed())
    assert finding.severity is Severity.WARNING
    assert "remove 90% of a constant's errors" in finding.message
    assert "0% on validation rows" in finding.message
    (finding,) = findings_of(SLUG, dataclasses.replace(record(), probes=REGRESSION))
    assert "columns in the same order" in finding.remedies[0].text


REGRESSION = {"signal": 0.6, "signal_rows": 500.0, "validation_r2": -0.2}


@pytest.mark.parametrize(
    "probes",
    [
        {"validation_error": 0.06},
        {"validation_error": 0.38},  # what holds is a quarter of what is known: on the boundary
        {"fold_error": 0.45},
        {"fold_error": 0.35, "validation_error_rows": 30.0},
        {"validation_r2": 0.4},
        {"signal": 0.1, "validation_r2": -0.2},
    ],
)
def test_silent_where_it_holds_or_nobody_can_know(probes):
    assert findings_of(SLUG, probed(**probes)) == ()


def test_a_shift_that_is_seen_says_more_than_what_it_does():
    shifted = config_record(x=X, y=Y, validation=(5 * V + 20, W))
    (finding,) = findings_of(SLUG, dataclasses.replace(shifted, probes=REGRESSION))
    assert {m.name for m in finding.measurements} == {"gap", "stretch"}


def test_a_target_whose_level_moved_is_not_set_back():
    (finding,) = found(y=Y, w=W + 3)
    assert finding.remedies[0].code == ""
    assert "predict changes instead of levels" in finding.remedies[0].text
