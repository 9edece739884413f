import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LayerRecord
from tests.records import config_record, findings_of, mlp, outcome_of, run_record, steps

SLUG = "input_shape"
RANDOM = np.random.default_rng(0)
Y = np.arange(48) % 2


def reading(*shape, **fields):
    """A model whose Input reads examples of `shape`."""
    model = mlp()
    first = dataclasses.replace(model.layers[0], output_shape=(None, *shape))
    return dataclasses.replace(model, layers=(first, *model.layers[1:]), **fields)


def record(given, wanted, **fields):
    return config_record(model=reading(*wanted), x=RANDOM.random((48, *given)), y=Y, **fields)


def found(given, wanted, **fields):
    return findings_of(SLUG, record(given, wanted, **fields))


def test_images_that_were_not_flattened():
    (finding,) = found((28, 28), (784,))
    assert finding.severity is Severity.ERROR
    assert "(n, 28, 28)" in finding.message
    assert "(n, 784)" in finding.message
    names = {"X": np.ones((5, 28, 28)), "X_val": np.ones((2, 28, 28)), "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X"].shape == (5, 784)
    assert names["X_val"].shape == (2, 784)


@pytest.mark.parametrize(("given", "wanted"), [((3, 32, 32), (32, 32, 3)), ((6, 24), (24, 6))])
def test_axes_in_another_order_are_turned_not_reshaped(given, wanted):
    (finding,) = found(given, wanted)
    x = RANDOM.random((2, *given))
    names = {"X": x, "X_val": x, "np": np}
    exec(finding.remedies[0].code, names)
    assert names["X"].shape == (2, *wanted)
    assert names["X"][0, ..., 0] == pytest.approx(x[0, 0])


def test_a_series_without_its_axis_of_features():
    (finding,) = found((24,), (1, 24))
    assert "np.reshape(X, (-1, 1, 24))" in finding.remedies[0].code
    assert not found((24,), (24, 1)), "Keras adds a last axis of 1 itself"


def test_another_size_asks_for_another_input():
    (finding,) = found((28, 28, 1), (32, 32, 3))
    assert "keras.Input((28, 28, 1))" in finding.remedies[0].code


def test_single_examples_instead_of_batches():
    base = record((28, 1), (28, 28, 1))
    train = dataclasses.replace(base.train, batch_size=28)
    (finding,) = findings_of(SLUG, dataclasses.replace(base, train=train))
    assert "single examples" in finding.message
    assert "batch(32)" in finding.remedies[0].text


def test_one_array_for_two_inputs():
    model = reading(20)
    second = LayerRecord(name="second", class_name="InputLayer", output_shape=(None, 20))
    model = dataclasses.replace(model, layers=(*model.layers, second), inputs=(0, 3))
    (finding,) = findings_of(SLUG, config_record(model=model, x=np.ones((48, 20)), y=Y))
    assert "2 inputs, and x holds 1" in finding.message
    assert "input, second" in finding.remedies[0].text


def test_a_model_without_input_is_judged_by_its_first_layer():
    model = reading(20, inputs=())
    lstm = LayerRecord(name="lstm", class_name="LSTM")
    model = dataclasses.replace(model, layers=(lstm, *model.layers[1:]))
    (finding,) = findings_of(SLUG, config_record(model=model, x=np.ones((48, 24)), y=Y))
    assert finding.layers == ("lstm",)
    assert not findings_of(SLUG, config_record(model=model, x=np.ones((48, 24, 2)), y=Y))
    model = dataclasses.replace(model, layers=model.layers[1:])
    outcome = outcome_of(SLUG, config_record(model=model, x=np.ones((48, 24)), y=Y))
    assert outcome.status == "not_applicable"


def test_validation_of_another_shape():
    fit = {"validation": (np.ones((48, 4, 5)), Y)}
    base = record((20,), (20,), **fit)
    (finding,) = findings_of(SLUG, run_record(base, steps=steps(np.ones(4))))
    assert finding.message.startswith("Validation x")
    assert "X_val" in finding.remedies[0].code


def test_what_the_model_has_taken_in_is_not_questioned():
    base = record((28, 28, 3), (32, 32, 3))
    assert findings_of(SLUG, base)
    assert not findings_of(SLUG, run_record(base, steps=steps(np.ones(4))))


def test_silent_where_shapes_agree():
    assert not found((20,), (20,))
    assert not found((28, 28), (28, 28, 1))
    assert not found((9, 2), (None, 2))


def test_not_applicable_without_inputs():
    assert outcome_of(SLUG, config_record(y=Y)).status == "not_applicable"
