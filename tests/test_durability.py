"""A killed process loses the current epoch at most."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest

from lossdoctor import RunRecord, diagnose
from lossdoctor.callback import LossDoctor
from lossdoctor.cli import main

pytestmark = pytest.mark.train

PROGRAM = """
    import sys, keras, numpy as np
    from lossdoctor import LossDoctor

    class Tells(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.epochs == 3 and batch == 2:
                print("now", flush=True)
                sys.stdin.read()

        def on_epoch_begin(self, epoch, logs=None):
            self.epochs = epoch

    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="softmax")])
    model.compile("sgd", "binary_crossentropy")
    y = (x[:, :1] > 0).astype("float32")
    model.fit(x, y, batch_size=8, epochs=9, verbose=0,
              callbacks=[LossDoctor(record_path=sys.argv[1]), Tells()])
"""


def test_kill_9_in_the_middle_of_an_epoch_loses_only_that_epoch(tmp_path, capsys):
    path = tmp_path / "run.lossdoctor"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    while "now" not in (line := process.stdout.readline()):
        assert line, "the training ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()

    record = RunRecord.load(path)
    assert record.fit.completed_epochs == 3
    assert record.fit.stopped.startswith("unfinished")
    assert record.steps.total_steps >= 2 * 8
    assert record.train.rows == 64
    assert diagnose(path).findings[0].rule == "single_unit_softmax"
    with pytest.raises(SystemExit) as ended:
        main(["diagnose", str(path)])
    assert ended.value.code == 1
    assert "single unit" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["run.lossdoctor"]


def test_the_finished_run_leaves_its_whole_record(tmp_path):
    path = tmp_path / "run.lossdoctor"
    doctor = LossDoctor(verbose=0, record_path=path)
    seen = []

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(RunRecord.load(path).fit.completed_epochs)

    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], epochs=30, verbose=0, callbacks=[doctor, Looks()])
    assert seen == list(range(1, 31))
    saved = RunRecord.load(path)
    assert saved.fit.stopped is None
    assert saved.train.pairing == doctor.record.train.pairing != ()


def test_keeping_the_record_costs_little(tmp_path):
    """Measured: 1 % by design; the bound leaves room for a busy machine."""
    spent = []

    class Timed(LossDoctor):
        def _unfinished(self):
            start = time.perf_counter()
            try:
                return super()._unfinished()
            finally:
                spent.append(time.perf_counter() - start)

    x = np.random.default_rng(0).normal(size=(256, 20)).astype("float32")
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(25), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    start = time.perf_counter()
    doctor = Timed(verbose=0, record_path=tmp_path / "run.lossdoctor")
    model.fit(x, x[:, :1], epochs=100, batch_size=8, verbose=0, callbacks=[doctor])
    assert sum(spent[1:]) < 0.05 * (time.perf_counter() - start)


def test_a_record_path_that_is_no_path_is_refused():
    with pytest.raises(ValueError, match="Received: record_path=3 of type int"):
        LossDoctor(record_path=3)
