import dataclasses

import numpy as np

from lossdoctor.record.run import FitRecord, RunRecord
from tests.records import config_record, findings_of, outcome_of

SLUG = "validation_overlap"
X = np.random.default_rng(0).normal(size=(300, 5))


def record(share, matches=50, x=X):
    probes = {"validation_overlap": share, "validation_matches": float(matches)}
    return config_record(x=x, y=x[:, 0], validation=(x[:50], x[:50, 0]), probes=probes)


def test_rows_seen_in_training():
    (finding,) = findings_of(SLUG, record(0.6))
    assert "60% of the validation rows" in finding.message
    new = np.random.default_rng(1).normal(size=(10, 5))
    names = {"X": X, "X_val": np.vstack([X[:20], new]), "y_val": np.arange(30), "np": np}
    exec(finding.remedies[0].code, names)
    assert np.array_equal(names["X_val"], new)
    assert np.array_equal(names["y_val"], np.arange(20, 30))


def test_validation_rows_that_are_all_known_are_drawn_anew():
    (finding,) = findings_of(SLUG, record(1.0))
    names = {"X": X, "y": np.arange(len(X)), "X_val": X, "y_val": np.arange(len(X)), "np": np}
    exec(finding.remedies[0].code, names)
    parts = {*map(bytes, names["X"])}, {*map(bytes, names["X_val"])}
    assert len(parts[0] | parts[1]) == len(X)
    assert not parts[0] & parts[1]
    assert np.array_equal(names["X_val"], X[names["y_val"]])


def test_threshold_and_chance_matches():
    assert findings_of(SLUG, record(0.05)) == ()
    assert len(findings_of(SLUG, record(0.06))) == 1
    assert findings_of(SLUG, record(0.5, matches=4)) == ()


def test_rows_that_repeat_by_nature():
    discrete = np.random.default_rng(0).integers(0, 2, size=(300, 4))
    assert "repeat each other" in outcome_of(SLUG, record(1.0, x=discrete)).reason


def test_not_applicable_without_validation():
    assert outcome_of(SLUG, config_record(x=X, y=X[:, 0])).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_rows_of_measured_numbers_that_repeat_were_copied():
    copied = np.repeat(X[:75], 4, axis=0)
    assert len(findings_of(SLUG, record(0.95, x=copied))) == 1
    rounded = np.round(copied[:, :1])
    assert "repeat each other" in outcome_of(SLUG, record(0.95, x=rounded)).reason


def test_copies_are_left_out_where_validation_is_the_tail():
    split = FitRecord(validation_split=0.2, has_validation=True)
    (finding,) = findings_of(SLUG, dataclasses.replace(record(1.0), fit=split))
    names = {"X": np.vstack([X, X[:20]]), "y": np.r_[: len(X), :20], "np": np}
    exec(finding.remedies[0].code, names)
    assert np.array_equal(names["X"], X)
    assert np.array_equal(names["y"], np.arange(len(X)))
