import keras
import numpy as np
import pytest

from lossdoctor import LossDoctor
from lossdoctor.finding import Severity
from lossdoctor.report.live import SHARE, LiveReport, certain
from tests.records import config_record, history, mlp, run_record
from tests.reports import finding, report


class Clock:
    """Tells the time in seconds, as the test has it pass."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def softmax_of_one():
    return run_record(
        config_record(model=mlp(activation="softmax"), loss="binary_crossentropy"),
        history=history(loss=[0.6]),
    )


def looks_of(costs, epochs):
    """How many times a run is looked at, when a look costs so many seconds and epochs take one."""
    clock, made = Clock(), []
    live = LiveReport(clock=clock)

    def record():
        clock.now += costs
        made.append(clock.now)
        return run_record(config_record(), history=history(loss=[1.0]))

    for _ in range(epochs):
        live.look(record)
        clock.now += 1.0
    return len(made), sum([costs] * len(made)), clock.now


def test_looks_take_no_more_than_their_share_of_the_run():
    count, spent, elapsed = looks_of(0.2, 500)
    assert count > 10
    assert spent <= SHARE * elapsed + 0.2 * 2


def test_cheap_looks_are_made_after_every_epoch_and_dear_ones_twice():
    assert looks_of(1e-5, 50)[0] == 50
    assert looks_of(3.0, 50)[0] == 2


def test_an_alarm_is_looked_at_once_whatever_it_costs():
    clock, seen = Clock(), []
    live = LiveReport(clock=clock)

    def record():
        clock.now += 5
        seen.append(clock.now)
        return run_record(config_record(), history=history(loss=[np.nan]))

    for alarm in (False, False, False, True, True):
        live.look(record, alarm=alarm)
        clock.now += 1
    assert len(seen) == 3


def test_every_finding_is_said_once_and_in_one_line(capsys):
    live = LiveReport()
    live.look(softmax_of_one)
    live.look(softmax_of_one)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith("LossDoctor ERROR after epoch 1: Softmax over a single unit. ")
    assert len(said) < 320


@pytest.mark.parametrize(("least", "said"), [(Severity.ERROR, 0), (Severity.WARNING, 1)])
def test_warnings_are_said_to_those_who_ask(least, said, capsys):
    large = config_record(x=50 * np.random.default_rng(0).normal(size=(60, 20)))
    LiveReport(least=least).look(lambda: run_record(large, history=history(loss=[0.6])))
    assert capsys.readouterr().out.count("LossDoctor WARNING") == said


def test_what_only_the_end_tells_is_not_certain():
    stuck = finding("loss_plateau", Severity.ERROR, stage=4)
    labels = finding("loss_task", Severity.ERROR, stage=1)
    symptom = finding("saturated_output", Severity.ERROR, stage=1, explained_by="loss_task")
    running = run_record(config_record(), history=history(loss=[1.0, 0.9]))
    broken = run_record(config_record(), history=history(loss=[1.0, np.nan]))
    found = (labels, symptom, stuck)
    assert certain(report(found, record=running)) == (labels,)
    assert certain(report(found, record=broken)) == (labels, stuck)
    assert certain(report(found, record=config_record())) == (labels, stuck)


def fit(*, activation="sigmoid", callbacks=(), verbose=1, epochs=5, rows=320):
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(1)
    x = rng.normal(size=(rows, 5)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)]
    )
    model.add(keras.layers.Activation(activation))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, callbacks=list(callbacks), verbose=verbose)
    return model


class Poison(keras.callbacks.Callback):
    """Breaks the weights when the third epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.model.layers[1].kernel.assign(np.full((8, 1), np.nan))


@pytest.mark.train
@pytest.mark.parametrize("verbose", [1, 2])
def test_a_run_that_breaks_in_epoch_3_is_told_then_beside_keras_own_lines(capsys, verbose):
    fit(callbacks=[LossDoctor(), Poison()], verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    (said,) = (number for number, text in enumerate(lines) if "LossDoctor ERROR" in text)
    assert lines[said].startswith("LossDoctor ERROR after epoch 3: ")
    assert lines[said + 1] == "Epoch 4/5"
    assert "loss: nan" in lines[said - 1]


@pytest.mark.train
@pytest.mark.parametrize("verbose", [1, 2])
def test_a_fault_of_the_configuration_is_told_before_the_first_step(capsys, verbose):
    fit(activation="softmax", callbacks=[LossDoctor()], verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("LossDoctor ERROR before the first step: Softmax over a single unit")
    assert lines[1] == "Epoch 1/5"
    assert sum("LossDoctor ERROR" in text for text in lines) == 1


@pytest.mark.train
def test_a_healthy_run_is_told_nothing_before_its_end(capsys):
    fit(callbacks=[LossDoctor(verbose=2)], epochs=12, rows=640)
    text = capsys.readouterr().out
    assert text.count("LossDoctor") == 1
    assert text.index("LossDoctor") > text.index("Epoch 12/12")


@pytest.mark.train
def test_verbose_0_says_nothing_and_looking_changes_nothing(capsys):
    quiet = fit(callbacks=[LossDoctor(verbose=0)], verbose=0)
    assert capsys.readouterr().out == ""
    looked_at = fit(callbacks=[LossDoctor(verbose=2)], verbose=0)
    for first, second in zip(quiet.get_weights(), looked_at.get_weights()):
        np.testing.assert_array_equal(first, second)
