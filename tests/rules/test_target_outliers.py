import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import config_record, findings_of, learned, outcome_of

SLUG = "target_outliers"
Z = np.random.default_rng(0).normal(size=1000)


def with_outliers(every=50, times=1000.0):
    y = Z.copy()
    y[::every] *= times
    return y


def found(y, **fields):
    return findings_of(SLUG, config_record(y=y, **fields))


def test_a_few_targets_decide():
    (finding,) = found(with_outliers())
    assert finding.severity is Severity.WARNING
    assert "2.00% of the targets" in finding.message or "1.90%" in finding.message
    assert "keras.losses.Huber(delta=" in finding.remedies[0].code
    names = {"X": Z, "y": with_outliers(), "np": np}
    exec(finding.remedies[1].code, names)
    assert len(names["y"]) >= 980
    assert np.abs(names["y"]).max() < 11


def test_silent_on_normal_and_long_tailed_targets():
    for y in (Z, np.exp(Z), np.random.default_rng(1).exponential(size=1000), np.arange(100.0)):
        assert found(y) == ()


def test_threshold():
    far = Z.copy()
    far[:10] = 45.0
    assert found(far) == ()
    far[:10] = 55.0
    assert len(found(far)) == 1


def test_zero_inflated_targets_have_no_robust_spread():
    assert outcome_of(SLUG, config_record(y=np.where(Z > 1, 100 * Z, 0))).status == "not_applicable"


def test_not_applicable_to_other_losses():
    for loss in ("mean_absolute_error", "mean_squared_logarithmic_error", "huber"):
        record = config_record(y=np.abs(with_outliers()), loss=loss)
        assert outcome_of(SLUG, record).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_a_run_that_fits_anyway_makes_it_information():
    record = config_record(y=with_outliers())
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.INFO
