import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, learned, outcome_of

SLUG = "input_outliers"
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(500, 20))


def spoiled(value, row=7, column=3):
    x = X.copy()
    x[row, column] = value
    return x


def found(x):
    return findings_of(SLUG, config_record(x=x, y=np.arange(len(x))))


def test_one_value_far_from_all_others():
    (finding,) = found(spoiled(1e6))
    assert finding.severity is Severity.WARNING
    assert "Feature number 3 holds 1e+06" in finding.message
    names = {"X": spoiled(1e6), "X_val": X, "np": np}
    exec(finding.remedies[0].code, names)
    assert np.abs(names["X"]).max() < 50
    assert names["X_val"].shape == X.shape


def test_codes_for_missing_values():
    for value in (999.0, -999.0, -9999.0):
        x = X.copy()
        x[RANDOM.random(x.shape) < 0.05] = value
        (finding,) = found(x)
        assert finding.severity is Severity.WARNING
        assert f"{value:g} stands at the far end of 20 of 20 columns" in finding.message
        names = {"X": x, "X_val": x[:50], "np": np}
        exec(finding.remedies[0].code, names)
        assert np.abs(names["X"]).max() < 10
        assert np.abs(names["X_val"]).max() < 10


def test_values_that_only_look_like_codes():
    assert found(RANDOM.uniform(0, 999, size=(500, 3)).round()) == ()
    counts = np.arange(1000.0)[:, None] * [1, 1]
    assert found(counts) == ()


def test_outliers_of_unscaled_data_are_information():
    (finding,) = found(50 + 20 * spoiled(1e6))
    assert finding.severity is Severity.INFO


def test_threshold():
    assert found(spoiled(95.0)) == ()
    assert len(found(spoiled(110.0))) == 1


@pytest.mark.parametrize(
    "x",
    [
        X,
        np.exp(1.5 * RANDOM.normal(size=(2000, 5))),
        np.eye(500)[:, :20],
        np.where(RANDOM.random((500, 5)) < 0.02, 1e4, 0.0),
        np.hstack([X, np.full((500, 1), 3.0)]),
    ],
)
def test_silent_on_usual_tails_rare_features_and_constants(x):
    assert found(x) == ()


def test_a_rare_pixel_is_rare_once_standardized_too():
    pixel = np.zeros(50_000)
    pixel[[3, 700, 9000]] = 1, 4, 16
    assert pixel.max() > 100 * np.sort(pixel)[:-1].std()
    assert found((pixel[:, None] - pixel.mean()) / pixel.std()) == ()


def test_a_run_that_learned_makes_it_information():
    record = config_record(x=spoiled(1e6), y=X[:, 0])
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.INFO


def test_not_applicable_without_inputs():
    assert outcome_of(SLUG, config_record(y=X[:, 0])).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


@pytest.mark.parametrize("scale", [lambda x: x / 9999, lambda x: (x - x.mean(0)) / x.std(0)])
def test_a_code_that_was_scaled_with_its_column(scale):
    x = X.copy()
    x[::40, 3] = -9999.0
    x = scale(x)
    (finding,) = found(x)
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("2.6% of the rows hold")
    names = {"X": x, "X_val": x[:50], "np": np}
    exec(finding.remedies[0].code, names)
    healed = names["X"][:, 3]
    assert abs(healed.std() - 1) < 0.05
    assert np.all(healed[::40] == healed[0])
    assert names["X_val"].shape == (50, 20)


def test_values_that_repeat_at_an_end_without_being_far_are_no_code():
    clipped = np.clip(RANDOM.exponential(size=(500, 20)), 0.05, 4.0)
    assert not found(clipped)
    rarely = (RANDOM.random(size=(500, 20)) < 0.02).astype(float) + 1e-3 * X
    assert not [f for f in found(rarely) if "code" in f.message]
