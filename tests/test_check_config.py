"""`check_config`: what it accepts, what it refuses, and that it leaves the model alone."""

import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from lossdoctor.check import check_config

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3


def classifier(units=3, activation="softmax", loss="sparse_categorical_crossentropy", **kwargs):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(units, activation=activation),
        ]
    )
    model.compile("adam", loss, **kwargs)
    return model


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(index * 20, (index + 1) * 20)
        return X[part], Y[part]


ACCEPTED = {
    "numpy": (X, Y),
    "float32": (X.astype("float32"), Y.astype("float32")),
    "int8 labels": (X, Y.astype("int8")),
    "column": (X, Y[:, None]),
    "tensors": (tf.constant(X), tf.constant(Y)),
    "pandas": (pd.DataFrame(X, columns=list("abcd")), pd.Series(Y, name="label")),
    "tf.data": (tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), None),
    "PyDataset": (Sequence(), None),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_healthy_data_of_every_kind_is_fine(name):
    x, y = ACCEPTED[name]
    report = check_config(classifier(), y, x=x)
    assert report.ok, str(report)
    assert not [o for o in report.outcomes if o.status == "failed"]
    assert report.record.train.rows == 60


@pytest.mark.parametrize("name", ACCEPTED)
def test_wrong_labels_of_every_kind_are_found(name):
    x, y = ACCEPTED[name]
    shifted = {
        "tf.data": lambda: (x.map(lambda a, b: (a, b + 1)), None),
        "PyDataset": lambda: ([(X, Y + 1)], None),
    }.get(name, lambda: (x, None if y is None else y + 1))
    x, y = shifted()
    if isinstance(x, list) and y is None:
        x, y = iter(x), None
    report = check_config(classifier(), y, x=x)
    assert report.findings[0].rule == "labels_out_of_range"


def test_lists_are_read_as_arrays_although_keras_refuses_them():
    report = check_config(classifier(), Y.tolist(), x=X.tolist())
    assert [finding.rule for finding in report.findings] == ["python_lists"]
    report = check_config(classifier(), [label + 1 for label in Y.tolist()], x=X)
    assert {f.rule for f in report.errors} == {"labels_out_of_range", "python_lists"}


def test_boolean_labels_and_a_dataset_in_place_of_y():
    model = classifier(1, "sigmoid", "binary_crossentropy")
    assert check_config(model, Y == 0, x=X).ok
    assert check_config(classifier(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)).ok


def uncompiled():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda: {"model": uncompiled(), "y": Y}, r"model\.compile"),
        (lambda: {"model": "model.keras", "y": Y}, "must be a Keras model"),
        (lambda: {"model": classifier()}, "`y` is missing"),
        (lambda: {"model": classifier(), "y": Y, "x": X[:50]}, "`x` has 50, `y` has 60"),
        (lambda: {"model": classifier(), "y": []}, "`y` is empty"),
        (lambda: {"model": classifier(), "y": Y, "x": np.zeros((0, 4))}, "`x` is empty"),
        (lambda: {"model": classifier(), "y": [object()] * 60}, "dtype object"),
        (lambda: {"model": classifier(), "y": Y, "x": [[1, 2], [3]]}, "rectangular"),
        (lambda: {"model": classifier(), "y": Y.astype(object)}, "dtype object, which Keras"),
        (
            lambda: {"model": classifier(), "y": Y, "x": np.array([[1], [1, 2]] * 30, object)},
            "pad_sequences",
        ),
        (
            lambda: {"model": classifier(), "x": tf.data.Dataset.from_tensor_slices((X, Y))},
            r"dataset\.batch\(32\)",
        ),
        (lambda: {"model": classifier(), "y": Y, "ignore": ["nope"]}, "nope"),
        (lambda: {"model": classifier(), "y": Y, "validation_split": 1.5}, "validation_split"),
        (lambda: {"model": classifier(), "y": Y, "validation_data": X}, "validation_data"),
        (
            lambda: {"model": classifier(), "y": Y, "rehearse": 3},
            "`rehearse` must be True or False",
        ),
        (
            lambda: {"model": classifier(), "x": tf.data.Dataset.from_tensor_slices(X).batch(8)},
            "without targets",
        ),
        (lambda: {"model": classifier(), "y": pd.Series([pd.Timestamp(0)] * 60)}, "datetime64"),
    ],
)
def test_bad_input_is_refused_in_one_paragraph(arguments, message):
    given = arguments()
    with pytest.raises(ValueError, match=message) as caught:
        check_config(given.pop("model"), given.pop("y", None), **given)
    assert "\n" not in str(caught.value)


def test_words_in_the_data_are_found_before_keras_refuses_them():
    (finding,) = check_config(classifier(), np.array(["cat", "dog"] * 30), x=X).findings
    assert finding.rule == "non_finite_data"
    assert "('cat', 'dog')" in finding.message
    assert "np.unique(y, return_inverse=True)" in finding.remedies[0].code

    table = pd.DataFrame({"age": range(60), "plan": ["basic", "pro"] * 30, "a": 0, "b": 1})
    for x, column in ((table, "'plan'"), (table.to_numpy(), "1")):
        first = check_config(classifier(), Y, x=x).findings[0]
        assert first.rule == "non_finite_data"
        assert f"in column {column} ('basic', 'pro')" in first.message


def test_the_model_is_left_as_it_was():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    )
    model.compile("adam", "mse")
    keras.utils.set_random_seed(4)
    check_config(model, X[:, :3], x=X)
    assert not model.built
    drawn = np.random.random()  # noqa: NPY002
    keras.utils.set_random_seed(4)
    assert drawn == np.random.random()  # noqa: NPY002

    built = classifier()
    before = [np.asarray(v) for v in built.variables]
    check_config(built, Y, x=X, validation_split=0.2)
    for a, b in zip(before, built.variables, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))
    assert built.train_function is None


def test_a_subclassed_model_is_read_from_its_traced_call():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(1)

        def call(self, x):
            return tf.nn.softmax(self.head(x))

    model = Subclassed()
    model.compile("adam", "binary_crossentropy")
    assert check_config(model, Y % 2, x=X).findings[0].rule == "single_unit_softmax"


def test_several_outputs_are_judged_each_by_its_loss():
    inputs = keras.Input((4,))
    good = keras.layers.Dense(3, activation="softmax", name="good")(inputs)
    bad = keras.layers.Dense(1, activation="softmax", name="bad")(inputs)
    model = keras.Model(inputs, {"good": good, "bad": bad})
    model.compile("adam", {"good": "sparse_categorical_crossentropy", "bad": "binary_crossentropy"})
    report = check_config(model, {"good": Y, "bad": Y % 2}, x=X)
    assert report.findings[0].rule == "single_unit_softmax"
    assert report.findings[0].layers == ("bad",)


def test_a_million_rows_of_fifty_columns_take_three_seconds():
    x = np.random.default_rng(0).standard_normal((1_000_000, 50), dtype="float32")
    y = (x[:, 0] > 0).astype("float32")
    model = keras.Sequential(
        [keras.Input((50,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile("adam", "binary_crossentropy")
    began = time.process_time()
    report = check_config(model, y, x=x, epochs=10)
    assert time.process_time() - began < 3
    assert report.findings == ()
