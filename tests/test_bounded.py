"""Neither the recorder's memory nor the record grows with the number of steps."""

import tracemalloc

import keras
import numpy as np
import pytest

from lossdoctor.record.assemble import RunAssembler
from lossdoctor.record.recorder import Recorder
from lossdoctor.record.spread import Spread
from lossdoctor.record.storage import dumps

pytestmark = pytest.mark.train
EPOCHS = 5
CHUNK = 1000
X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")


def recorded(steps, *, planned):
    """A recorder after one real step and `steps` simulated ones: rows counted in the rings that
    the step writes, and read as after real steps. Returns it, and its memory early and late."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, activation="relu") for _ in range(10)]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assembler = RunAssembler(model, {"epochs": EPOCHS})
    recorder = Recorder(model, planned_steps=steps if planned else None)
    recorder.attach()
    model.train_on_batch(X, X[:, :1])
    ring, probe = recorder._instruments.losses, recorder._instruments.probe
    ring._values.assign(np.ones([ring.rows, 2], np.float32))
    memory = []
    tracemalloc.start()
    for epoch in range(EPOCHS):
        recorder.begin_epoch(epoch)
        left = steps // EPOCHS
        while left:
            taken = min(left, CHUNK)
            coming = range(recorder.step, recorder.step + taken)
            look_at(probe, [s for s in coming if recorder._wants_look(s)])
            ring._count.assign(np.int64(ring.written + taken))
            recorder.step += taken
            recorder._drain()
            left -= taken
        recorder.end_epoch()
        assembler.end_epoch(epoch, {"loss": 1.0})
        memory.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    recorder.detach()
    assert recorder.step == steps + 1
    return assembler.record(recorder, measure=False), memory


def look_at(probe, steps):
    for step in steps:
        row = np.ones(6 + 6 * len(probe._variables), np.float32)
        row[:2] = np.array([step], np.int64).view(np.float32)
        probe._ring.write(row)


@pytest.mark.parametrize("planned", [True, False])
def test_ten_steps_or_two_hundred_thousand(planned):
    few, _ = recorded(10, planned=planned)
    many, memory = recorded(200_000, planned=planned)
    assert many.steps.total_steps == 200_001
    assert len(many.steps.step) <= 2 * 4096
    assert len(many.variables.step) <= 200
    assert many.variables.step[-1] > 190_000
    assert np.isfinite(many.variables.gradient_norm).mean() > 0.9
    assert len(dumps(few)) < 100_000
    assert len(dumps(many)) < 1_500_000
    # What the first 40,000 steps hold, the next 160,000 replace.
    assert memory[-1] - memory[0] < 1_000_000


def test_the_spread_of_parts_is_the_spread_of_the_whole():
    values = np.random.default_rng(0).normal(5, 2, size=1000)
    spread = Spread()
    for part in np.split(values, [1, 10, 500]):
        spread.add(part)
    assert spread.std == pytest.approx(values.std(), rel=1e-12)
    spread.add(np.array([np.inf]))
    assert np.isnan(spread.std)
