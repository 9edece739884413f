"""`stop_on="error"`: stops what cannot be cured by training longer, and costs little otherwise."""

import keras
import numpy as np
import pytest

from lossdoctor.callback import LossDoctor
from lossdoctor.record.assemble import RunAssembler

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def fit(doctor, *, head="sigmoid", bias=None, epochs=40):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1, activation=head),
        ]
    )
    if bias is not None:
        model.layers[0].bias.assign(np.full(8, bias))
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    history = model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[doctor])
    return len(history.history["loss"])


@pytest.mark.parametrize("fault", [{"head": "softmax"}, {"bias": -1e3}])
def test_training_stops_after_the_first_epoch_that_shows_an_error(fault):
    doctor = LossDoctor(verbose=0, stop_on="error")
    assert fit(doctor, **fault) <= 2
    assert doctor.record.fit.stopped == "stop_training"
    assert doctor.report.problems[0].severity.name == "ERROR"


def test_a_healthy_run_goes_on_and_its_model_is_measured_ever_more_rarely(monkeypatch):
    measured = []
    record = RunAssembler.record

    def spy(self, *args, measure=True, **kwargs):
        measured.append(measure)
        return record(self, *args, measure=measure, **kwargs)

    monkeypatch.setattr(RunAssembler, "record", spy)
    assert fit(LossDoctor(verbose=0, stop_on="error")) == 40
    assert sum(measured) <= 7, "after 1, 2, 4, 8, 16 and 32 epochs, and at the end"
