"""However `fit` ends, the model is left as a run without the doctor leaves it, and what was seen
until then is in the record."""

import contextlib
import gc
import re
import weakref
import zipfile

import h5py
import keras
import numpy as np
import pytest

from lossdoctor.callback import LossDoctor
from tests.models import Subclassed

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 5)).astype("float32")
Y = X @ RNG.normal(size=(5, 1)).astype("float32")


class Broken(Exception):
    pass


class Raises(keras.callbacks.Callback):
    """Raises in one hook, the second time it is called."""

    def __init__(self, hook, error):
        super().__init__()
        self.calls = 0

        def broken(*args, **kwargs):
            self.calls += 1
            if self.calls == 2 or hook in ("on_train_begin", "on_train_end"):
                raise error("on purpose")

        setattr(self, hook, broken)


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[index * 32 : index * 32 + 32], Y[index * 32 : index * 32 + 32]


class BreaksBetweenEpochs(Data):
    ends = 0

    def on_epoch_end(self):
        self.ends += 1
        # Keras ends an epoch once before the first.
        if self.ends > 1:
            raise Broken("on purpose")


class BreaksInside(Data):
    calls = 0

    def __getitem__(self, index):
        self.calls += 1
        if self.calls > 6:
            raise Broken("on purpose")
        return super().__getitem__(index)


def generator():
    for _ in range(5):
        yield X[:32], Y[:32]
    raise Broken("on purpose")


def trained(callbacks, data=None, validation=(X[:32], Y[:32])):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    given = {"x": X, "y": Y, "batch_size": 32} if data is None else {"x": data}
    with pytest.raises(BaseException, match="on purpose") as caught:
        model.fit(
            **given,
            steps_per_epoch=3 if data is not None and not isinstance(data, Data) else None,
            validation_data=validation,
            epochs=3,
            verbose=0,
            callbacks=callbacks,
        )
    return model, caught


def saved_configuration(model, path):
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        # Shared objects are marked by their addresses.
        return re.sub(rb'"shared_object_id": \d+', b"", archive.read("config.json"))


def assert_no_trace(seen, plain, tmp_path):
    assert seen.__dict__.keys() == plain.__dict__.keys()
    assert seen.optimizer.__dict__.keys() == plain.optimizer.__dict__.keys()
    for function in ("train_function", "test_function"):
        a, b = getattr(seen, function), getattr(plain, function)
        assert type(a) is type(b) or a is None
        assert "lossdoctor" not in repr(a)
    assert [v.path for v in seen.optimizer.variables] == [v.path for v in plain.optimizer.variables]
    for a, b in zip(
        seen.variables + seen.optimizer.variables, plain.variables + plain.optimizer.variables
    ):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=b.path)
    assert saved_configuration(seen, tmp_path / "a.keras") == saved_configuration(
        plain, tmp_path / "b.keras"
    )


HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_batch_end",
    "on_epoch_end",
    "on_train_end",
]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("hook", HOOKS)
def test_another_callback_raises(hook, order, tmp_path):
    error = KeyboardInterrupt if hook == "on_train_batch_end" else Broken
    plain, _ = trained([Raises(hook, error)])
    doctor = LossDoctor(verbose=0)
    callbacks = [doctor, Raises(hook, error)]
    seen, caught = trained(callbacks if order == "before" else callbacks[::-1])
    assert_no_trace(seen, plain, tmp_path)
    assert caught.type is error
    if hook == "on_train_begin":
        with pytest.raises(RuntimeError, match="no record yet"):
            doctor.record  # noqa: B018
    elif (hook, order) == ("on_train_end", "before"):
        assert doctor.record.fit.stopped is None
    else:
        reason = "interrupted" if error is KeyboardInterrupt else "exception: Broken: on purpose"
        assert doctor.record.fit.stopped == reason


@pytest.mark.parametrize("data", [generator, BreaksInside, BreaksBetweenEpochs])
def test_the_data_raises(data, tmp_path):
    plain, _ = trained([], data())
    doctor = LossDoctor(verbose=0)
    seen, _ = trained([doctor], data())
    assert_no_trace(seen, plain, tmp_path)
    assert doctor.record.fit.stopped.startswith("exception")
    assert doctor.record.steps.total_steps >= 3
    assert np.isfinite(doctor.record.steps.loss).all()


def test_validation_raises_outside_its_steps(tmp_path):
    class Unreadable(Data):
        def on_epoch_begin(self):
            raise Broken("on purpose")

    plain, _ = trained([], validation=Unreadable())
    doctor = LossDoctor(verbose=0)
    seen, _ = trained([doctor], validation=Unreadable())
    assert_no_trace(seen, plain, tmp_path)
    assert doctor.record.fit.stopped == "exception: Broken: on purpose"
    assert doctor.record.steps.total_steps == 3


def functional():
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    joined = keras.layers.Add()([keras.layers.Dense(4, "relu")(a), keras.layers.Dense(4)(b)])
    return keras.Model([a, b], keras.layers.Dense(1)(joined))


def contents(model, path):
    """Every byte of a saved model's configuration, and the names of its weights."""
    model.save(path)
    names = []
    with zipfile.ZipFile(path) as archive:
        with h5py.File(archive.open("model.weights.h5")) as weights:
            weights.visit(names.append)
        return archive.read("config.json"), names


@pytest.mark.filterwarnings("ignore:.*is not registered")
@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("build", "x"),
    [
        (lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)]), X),
        (functional, [X, X]),
        (lambda: Subclassed(1), X),
    ],
    ids=["Sequential", "functional", "subclassed"],
)
def test_a_model_saved_after_a_fit_that_broke_off_is_one_never_fitted(build, x, error, tmp_path):
    model = build()
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "mse", metrics=["mae"])
    model.predict(x, verbose=0)
    model.optimizer.build(model.trainable_variables)
    untouched = contents(model, tmp_path / "before.keras")
    callbacks = [LossDoctor(verbose=0), Raises("on_train_batch_end", error)]
    with pytest.raises(error):
        model.fit(x, Y, verbose=0, callbacks=callbacks)
    assert contents(model, tmp_path / "after.keras") == untouched


def test_an_interrupt_between_the_hooks_leaves_no_trace_once_fit_is_gone(tmp_path):
    class Interrupted(keras.Sequential):
        resets = 0

        def reset_metrics(self):
            self.resets += 1
            if self.resets == 3:
                raise KeyboardInterrupt("on purpose")
            super().reset_metrics()

    def interrupted(callbacks):
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = Interrupted([keras.Input((5,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(X, Y, epochs=3, verbose=0, callbacks=callbacks)
        return model

    doctor = LossDoctor(verbose=0)
    assert_no_trace(interrupted([doctor]), interrupted([]), tmp_path)
    assert doctor.record.fit.stopped.startswith("unfinished")
    assert doctor.report.record.fit.completed_epochs == 2


def test_a_fit_after_one_whose_exception_is_held_is_recorded():
    """A notebook keeps the last exception, and with it the `fit` it came from."""

    class Forgetful(keras.Sequential):
        resets = 0

        def reset_metrics(self):
            self.resets += 1
            if self.resets == 2:
                raise Broken("on purpose")
            super().reset_metrics()

    model = Forgetful([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(Broken) as held:
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[LossDoctor(verbose=0)])
    doctor = LossDoctor(verbose=0)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[doctor])
    assert doctor.record.steps.total_steps == 9
    assert "the rest of the run" not in doctor.record.not_recorded
    assert held.value.args == ("on purpose",)
    assert not {"compute_loss", "train_step", "evaluate"} & model.__dict__.keys()


def test_a_doctor_used_again_is_not_disturbed_by_the_end_of_its_first_fit():
    doctor = LossDoctor(verbose=0)
    _, held = trained([doctor, Raises("on_epoch_end", Broken)])
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    class Forgets(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            nonlocal held
            held = None

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[doctor, Forgets()])
    assert doctor.record.fit.stopped is None
    assert doctor.record.fit.completed_epochs == 2


def test_what_recording_needed_is_freed_when_fit_ends():
    held = []

    class Peeks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            held.append(weakref.ref(doctor._recorder))

    doctor = LossDoctor(verbose=0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[doctor, Peeks()])
    gc.collect()
    assert held[0]() is None
    assert doctor.report.record.steps.total_steps == 3
