import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, NonFiniteOrigin, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    history,
    layer,
    outcome_of,
    run_record,
)

SLUG = "non_finite_data"
X = np.random.default_rng(0).normal(size=(100, 20))
Y = X[:, 0].copy()


def with_bad(array, value, *places):
    array = array.copy()
    for place in places:
        array[place] = value
    return array


def test_counts_columns_and_rows_of_x():
    record = config_record(x=with_bad(X, np.nan, (17, 4), (30, 4)), y=Y)
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.ERROR
    assert finding.message == "x has 2 NaN entries in column 4, 2 of 100 rows (row 17, 30)."


def test_names_columns_of_a_frame():
    record = config_record(x=with_bad(X[:, :2], np.inf, (3, 1)), y=Y)
    named = dataclasses.replace(record.train.inputs[0], feature_names=("age", "fare"))
    train = dataclasses.replace(record.train, inputs=(named,))
    (finding,) = findings_of(SLUG, dataclasses.replace(record, train=train))
    assert "1 infinite entry in column 'fare'" in finding.message


def test_targets_and_validation_are_found_apart():
    record = config_record(x=X, y=with_bad(Y, np.nan, 5), validation=(with_bad(X, np.inf, 0), Y))
    messages = [finding.message for finding in findings_of(SLUG, record)]
    assert any(m.startswith("y has 1 NaN entry, 1 of 100 rows (row 5)") for m in messages)
    assert any(m.startswith("Validation x has 20 infinite entries") for m in messages)


def test_silent_on_finite_data():
    assert findings_of(SLUG, config_record(x=X, y=Y, validation=(X, Y))) == ()


def test_few_bad_rows_are_left_out_many_are_filled():
    few = with_bad(X, np.nan, (17, 4))
    (finding,) = findings_of(SLUG, config_record(x=few, y=Y))
    names = {"X": few, "y": Y, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X"].shape == (99, 20)
    assert names["y"].shape == (99,)
    many = with_bad(X, np.nan, (slice(0, 50), 4), (0, 5))
    finding = findings_of(SLUG, config_record(x=many, y=Y, validation=(many, Y)))[-1]
    names = {"X": many, "X_val": many, "np": np}
    exec(finding.remedies[0].code, names)
    assert np.isfinite(names["X"]).all()
    assert np.isfinite(names["X_val"]).all()
    assert names["X"][0, 4] == pytest.approx(np.median(X[50:, 4]))


def test_missing_targets_are_left_out_however_many():
    y = with_bad(Y, np.nan, slice(0, 50))
    (finding,) = findings_of(SLUG, config_record(x=X, y=y))
    names = {"X": X, "y": y, "np": np}
    exec(finding.remedies[0].code, names)
    assert len(names["X"]) == len(names["y"]) == 50


def test_words_where_numbers_are_needed():
    (finding,) = findings_of(SLUG, config_record(x=X, y=np.array(["cat", "dog"] * 50)))
    assert "holds string values ('cat', 'dog'), not numbers" in finding.message
    names = {"y": np.array(["cat", "dog"]), "y_val": np.array(["dog"]), "np": np}
    exec(finding.remedies[0].code, names)
    assert list(names["y"]) == [0, 1]
    assert list(names["y_val"]) == [1]
    numerals = np.array([["1.5", "2"], ["3", "nan"]], dtype=object)
    (finding,) = findings_of(SLUG, config_record(x=numerals, y=Y[:2]))
    assert "astype" in finding.remedies[0].code


def test_strings_are_welcome_where_a_layer_reads_them():
    words = np.array([["a b"], ["c"]])
    model = chain(layer("words", "TextVectorization"), dense("head", 1, 9))
    assert findings_of(SLUG, config_record(x=words, y=Y[:2], model=model)) == ()


def test_a_run_that_stayed_finite_deals_with_them():
    record = config_record(x=with_bad(X, np.nan, (1, 1)), y=Y)
    healthy = run_record(record, history=history(loss=[1.0, 0.5]))
    assert findings_of(SLUG, healthy)[0].severity is Severity.INFO
    # relu turns NaN weights into a finite loss: the gradients tell
    origin = NonFiniteOrigin(epoch=0, step=3, source="inputs")
    broken = dataclasses.replace(healthy, non_finite=origin)
    assert findings_of(SLUG, broken)[0].severity is Severity.ERROR


def test_a_loss_of_ones_own_may_mask_missing_targets():
    own = LossRecord(name="masked_mse", custom=True)
    record = config_record(x=X, y=with_bad(Y, np.nan, 5), loss=own)
    assert findings_of(SLUG, record)[0].severity is Severity.WARNING


def test_not_applicable_without_data_or_model():
    assert outcome_of(SLUG, config_record()).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_bad_rows_on_both_sides_are_one_finding():
    bad = with_bad(X, np.nan, (3, 4))
    record = config_record(x=bad, y=Y, validation=(bad, Y))
    (finding,) = findings_of(SLUG, record)
    assert "as have validation rows" in finding.message
    assert "X_val" in finding.remedies[0].code


def test_relu_hides_the_nan_weights_a_validation_row_would_meet():
    record = config_record(x=X, y=Y, validation=(with_bad(X, np.nan, (3, 4)), Y))
    logs = history(loss=[1.0, 1.0], val_loss=[1.0, 1.0])
    origin = NonFiniteOrigin(epoch=0, step=0, source="gradients")
    (finding,) = findings_of(SLUG, run_record(record, history=logs, non_finite=origin))
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize(("source", "name"), [("inputs", "x"), ("targets", "y")])
def test_a_bad_batch_that_only_the_step_met(source, name):
    origin = NonFiniteOrigin(epoch=0, step=478, source=source)
    record = run_record(config_record(x=X, y=Y), history=history(loss=[np.nan]), non_finite=origin)
    (finding,) = findings_of(SLUG, record)
    assert finding.message == (
        f"A batch of epoch 1 has NaN or infinite entries in {name} (step 478); those that were "
        "looked at in whole, 100 rows, have none."
    )
    names = {"X": with_bad(X, np.nan, (3, 4)), "y": with_bad(Y, np.nan, 5), "np": np}
    exec(finding.remedies[0].code, names)
    assert len(names["X"]) == len(names["y"]) == 99
