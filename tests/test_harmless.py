"""Whatever fails in or around the doctor: training goes on to the same bits, and is told once."""

import copy
import errno
import gc
import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lossdoctor import RunRecord
from lossdoctor.callback import LossDoctor
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Severity, Stage
from lossdoctor.record.assemble import RunAssembler
from lossdoctor.record.recorder import Recorder
from lossdoctor.record.stream import DataStream
from lossdoctor.report import Report
from lossdoctor.rules import Rule
from tests.models import assert_same_variables, step_by_hand

pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 5)).astype("float32")
Y = X @ RNG.normal(size=(5, 1)).astype("float32")


class Own(keras.Sequential):
    """Steps without `optimizer.apply`, and logs that are no numbers."""

    def train_step(self, data):
        x, y = data
        loss = step_by_hand(self, x, y)
        return {"loss": loss, "per example": y[:, 0], "text": tf.constant("odd")}


class WithoutApply(keras.optimizers.SGD):
    @property
    def apply(self):
        raise AttributeError("this optimizer has no apply")


class Guarded(keras.Sequential):
    """Takes a train function once and no other."""

    def make_train_function(self, force=False):
        if force:
            raise AttributeError("train_function is fixed")
        return super().make_train_function()


class GuardedOptimizer(keras.optimizers.SGD):
    """Its `apply` cannot be shadowed by an attribute."""

    @property
    def apply(self):
        return super().apply

    def __setattr__(self, name, value):
        if name == "apply":
            raise AttributeError("apply is fixed")
        super().__setattr__(name, value)


class Peculiar(keras.callbacks.Callback):
    """Has attributes that raise, and logs what nobody expects."""

    __slots__ = ()

    def __getattribute__(self, name):
        if name == "__dict__":
            raise RuntimeError("private")
        return super().__getattribute__(name)

    @property
    def wide(self):
        raise RuntimeError("private")


class Odd(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs |= {"generator": (i for i in ()), "text": "a", "none": None, 3: 4.0, "list": [1, 2]}


class RaisingRule(Rule):
    title = "Raises"
    severity = Severity.ERROR
    stage = Stage.DATA

    def check(self, setup: Setup):
        raise RuntimeError("no rule for you")


def raising(owner: Any, name: str, *, after: int = 0) -> Callable[[pytest.MonkeyPatch], None]:
    """Let a function raise as a full disk does, from its `after`-th call on."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original, calls = getattr(owner, name), []

        def raises(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, raises)

    return patch


FULL = "No space left on device"


@dataclass(kw_only=True)
class Trouble:
    """`warning`: what the one warning says, None for no warning; `report`: whether there is one;
    `saved`: whether the record on disk can be read."""

    patch: Callable[[pytest.MonkeyPatch], None] = lambda monkeypatch: None
    model: type = keras.Sequential
    optimizer: type = keras.optimizers.SGD
    callbacks: tuple[type, ...] = ()
    doctor: dict[str, Any] = field(default_factory=dict)
    path: str = "run.lossdoctor"
    warning: str | None = None
    report: bool = True
    saved: bool = True


TROUBLES = {
    "the disk is full from the start": Trouble(
        patch=raising(os, "replace"), warning=FULL, saved=False
    ),
    "the disk is full later": Trouble(patch=raising(os, "replace", after=2), warning=FULL),
    "no such folder": Trouble(path="nowhere/run.lossdoctor", warning="nowhere", saved=False),
    "the path is a folder": Trouble(path=".", warning="cannot write", saved=False),
    "a log_dir that is a file": Trouble(
        doctor={"log_dir": __file__}, warning=os.path.basename(__file__)
    ),
    "a rule raises": Trouble(doctor={"rules": [RaisingRule()], "stop_on": "error"}),
    "the diagnosis raises": Trouble(
        patch=raising(Report, "of"), doctor={"stop_on": "error"}, warning=FULL, report=False
    ),
    "printing raises": Trouble(patch=raising(Report, "print"), doctor={"verbose": 1}, warning=FULL),
    "opening raises": Trouble(
        patch=raising(RunAssembler, "__init__"), warning=FULL, report=False, saved=False
    ),
    "assembling raises": Trouble(
        patch=raising(RunAssembler, "record"), warning=FULL, report=False, saved=False
    ),
    "assembling raises later": Trouble(
        patch=raising(RunAssembler, "record", after=2), warning=FULL, report=False
    ),
    "attaching raises": Trouble(patch=raising(Recorder, "_open"), warning=FULL),
    "an epoch's end raises": Trouble(patch=raising(Recorder, "end_epoch", after=1), warning=FULL),
    "reading the data raises": Trouble(patch=raising(DataStream, "update")),
    "the model takes no other step": Trouble(model=Guarded, warning="train_function is fixed"),
    "the optimizer has no apply": Trouble(model=Own, optimizer=WithoutApply),
    "the optimizer keeps its apply": Trouble(optimizer=GuardedOptimizer),
    "a callback hides its attributes": Trouble(callbacks=(Peculiar,)),
    "the logs are odd": Trouble(callbacks=(Odd,)),
}


def trained(trouble, callbacks):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = trouble.model(
        [keras.Input((5,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)]
    )
    model.compile(trouble.optimizer(0.05), "mse")
    history = model.fit(
        X,
        Y,
        epochs=4,
        verbose=0,
        callbacks=[*callbacks, *(callback() for callback in trouble.callbacks)],
    )
    return model, history.history["loss"]


@pytest.mark.parametrize("name", TROUBLES)
def test_training_goes_on_to_the_same_bits_and_is_told_once(name, tmp_path, monkeypatch, capsys):
    trouble = TROUBLES[name]
    plain, plain_loss = trained(trouble, [])
    path = tmp_path / trouble.path
    doctor = LossDoctor(**{"verbose": 0, "record_path": path} | trouble.doctor)
    with warnings.catch_warnings(record=True) as caught, monkeypatch.context() as patched:
        warnings.simplefilter("always")
        trouble.patch(patched)
        model, loss = trained(trouble, [doctor])

    assert loss == plain_loss
    assert_same_variables(model, plain)
    assert model.__dict__.keys() == plain.__dict__.keys()
    assert model.optimizer.__dict__.keys() == plain.optimizer.__dict__.keys()
    told = [str(w.message) for w in caught if str(w.message).startswith("LossDoctor")]
    assert len(told) == (trouble.warning is not None), told
    assert all(trouble.warning in text for text in told)
    if trouble.report:
        assert doctor.report.outcomes
        assert len(doctor.record.history.epochs) == 4
        assert doctor.record.fit.stopped is None
    if trouble.saved:
        assert RunRecord.load(path).fit.completed_epochs >= 1


class Recompiles(keras.callbacks.Callback):
    """Goes on with another optimizer, as fine-tuning does."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.model.compile(keras.optimizers.Adam(0.01), "mse")
            self.model.make_train_function()


class NewOptimizer(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.model.optimizer = keras.optimizers.Adam(0.01)
            self.model.optimizer.build(self.model.trainable_variables)


class FitsInside(keras.callbacks.Callback):
    """Trains the same model a little more after every epoch, and another one."""

    def on_epoch_end(self, epoch, logs=None):
        other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
        other.compile("sgd", "mse")
        for model in (self.model, other):
            model.fit(X[:32], Y[:32], verbose=0)


class DoctorInside(keras.callbacks.Callback):
    """Has a doctor of its own for such a fit."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.fit(X[:32], Y[:32], verbose=0, callbacks=[LossDoctor(verbose=0)])


class KeepsCopies(keras.callbacks.Callback):
    """Keeps the best model as a whole."""

    def on_epoch_end(self, epoch, logs=None):
        kept = copy.deepcopy(self.model)
        assert not {"compute_loss", "train_step", "evaluate"} & kept.__dict__.keys()
        kept.fit(X, Y, verbose=0)


class ByTheBatch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.train_on_batch(X[:7], Y[:7])
        self.model.test_on_batch(X[:7], Y[:7])
        self.model.predict_on_batch(X[:7])


class ClearsSession(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        keras.utils.clear_session()


COMPANY = [
    Recompiles,
    NewOptimizer,
    FitsInside,
    DoctorInside,
    KeepsCopies,
    ByTheBatch,
    ClearsSession,
]


def company(callback, doctors):
    """Train twice, the first time beside `callback`."""
    trouble = Trouble(callbacks=(callback,))
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = trouble.model([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile(trouble.optimizer(0.05), "mse")
    model.fit(X, Y, verbose=0)
    first = model.fit(X, Y, epochs=4, verbose=0, callbacks=[*doctors, callback()])
    second = model.fit(X, Y, epochs=2, verbose=0)
    return model, first.history["loss"] + second.history["loss"]


@pytest.mark.parametrize("callback", COMPANY)
def test_whatever_another_callback_does_with_the_model(callback):
    plain, plain_loss = company(callback, [])
    doctor = LossDoctor(verbose=0)
    model, loss = company(callback, [doctor])
    assert loss == plain_loss
    assert_same_variables(model, plain)
    assert model.__dict__.keys() == plain.__dict__.keys()
    assert model.optimizer.__dict__.keys() == plain.optimizer.__dict__.keys()
    assert doctor.report.outcomes
    assert len(doctor.record.history.epochs) == 4


def test_a_fit_that_compiles_anew_says_where_the_record_ends():
    doctor = LossDoctor(verbose=0)
    company(Recompiles, [doctor])
    assert doctor.record.steps.total_steps == 2 * 3
    assert "another train_function" in doctor.record.not_recorded["the rest of the run"]


def test_of_two_doctors_the_second_records():
    trouble = Trouble()
    plain, plain_loss = trained(trouble, [])
    doctors = LossDoctor(verbose=0), LossDoctor(verbose=0)
    model, loss = trained(trouble, doctors)
    assert loss == plain_loss
    assert model.__dict__.keys() == plain.__dict__.keys()
    assert model.optimizer.__dict__.keys() == plain.optimizer.__dict__.keys()
    assert model.evaluate(X, Y, verbose=0) == plain.evaluate(X, Y, verbose=0)
    assert doctors[1].record.steps.total_steps == 12
    assert "another LossDoctor" in doctors[0].record.not_recorded["the rest of the run"]
    assert len(doctors[0].record.history.epochs) == 4


def test_the_folder_of_the_record_vanishes(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()

    class Cleans(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                shutil.rmtree(folder)

    doctor = LossDoctor(verbose=0, record_path=folder / "run.lossdoctor")
    with pytest.warns(UserWarning, match="cannot write") as caught:
        _, loss = trained(Trouble(callbacks=(Cleans,)), [doctor])
    assert len(caught) == 1
    assert loss == trained(Trouble(), [])[1]
    assert doctor.report.outcomes


def test_a_metric_that_raises_when_it_is_reset():
    class Raises(keras.metrics.MeanAbsoluteError):
        resets = 0

        def reset_state(self):
            self.resets += 1
            if self.resets > 2:
                raise RuntimeError("on purpose")
            super().reset_state()

    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[Raises()])
    before = set(model.__dict__)
    doctor = LossDoctor(verbose=0)
    with pytest.raises(RuntimeError, match="on purpose"):
        model.fit(X, Y, epochs=4, verbose=0, callbacks=[doctor])
    assert "apply" not in model.optimizer.__dict__
    gc.collect()
    assert set(model.__dict__) - before <= {"history", "_eval_epoch_iterator"}
    assert 1 <= doctor.record.fit.completed_epochs < 4


def test_a_fit_in_a_thread():
    _, plain_loss = trained(Trouble(), [])
    doctor, losses = LossDoctor(verbose=0), []
    thread = threading.Thread(target=lambda: losses.extend(trained(Trouble(), [doctor])[1]))
    thread.start()
    thread.join()
    assert losses == plain_loss
    assert doctor.record.steps.total_steps == 12


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_made_before_and_after_a_fit(copied):
    """KerasTuner copies callbacks for every trial, loky and multiprocessing pickle them."""
    prototype = LossDoctor(verbose=0, ignore=["overfitting"])
    for _ in range(2):
        doctor = copied(prototype)
        trained(Trouble(), [doctor])
        kept = copied(doctor)
        assert kept.report.to_dict() == doctor.report.to_dict()
        assert kept.record.steps.total_steps == 12
    with pytest.raises(RuntimeError, match="no record"):
        prototype.record  # noqa: B018
