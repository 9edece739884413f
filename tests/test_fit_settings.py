"""What `fit` was called with is recorded, and the remedies' code fits it."""

import numpy as np
import pytest

from lossdoctor import LossDoctor

keras = pytest.importorskip("keras")

X = np.random.default_rng(0).normal(size=(64, 3)) * 1000
Y = (X[:, 0] > 0).astype("float32")


def run(**arguments):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[doctor], **arguments)
    return doctor


def test_fit_settings_are_recorded():
    doctor = run(validation_split=0.25, shuffle=False, class_weight={0: 1.0, 1: 2.0})
    assert doctor.record.fit.validation_split == 0.25
    assert doctor.record.fit.shuffle is False
    assert doctor.record.fit.class_weight is True
    plain = run().record.fit
    assert (plain.validation_split, plain.shuffle, plain.class_weight) == (None, True, False)


def test_code_names_no_validation_arrays_where_validation_split_takes_them_from_x():
    (scaling,) = (f for f in run(validation_split=0.25).report.findings if "scaled" in f.rule)
    names = {"X": X, "np": np}
    exec(scaling.remedies[0].code, names)
    assert names["X"].std(axis=0) == pytest.approx(np.ones(3), rel=1e-4)
    (scaling,) = (f for f in run(validation_data=(X, Y)).report.findings if "scaled" in f.rule)
    assert "X_val" in scaling.remedies[0].code
