import keras
import numpy as np
import pytest

from lossdoctor.record.memory import probe_memory
from lossdoctor.record.snapshot import snapshot_model

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 60, 1))
EARLY = (X[:, :3, 0].sum(axis=1) > 0).astype(int)


def probed(*layers, x=X, y=EARLY, shape=(60, 1)):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(2, "softmax")])
    return probe_memory(model, snapshot_model(model), [x], [y])


def test_the_steps_within_reach_of_a_decaying_state():
    # The state halves at every step: 2^-10 is the first power below a thousandth.
    half = keras.initializers.Constant(0.5)
    cell = keras.layers.SimpleRNN(1, activation="linear", recurrent_initializer=half)
    found = probed(cell)
    assert (found["memory"], found["memory_steps"]) == (10, 60)
    assert found["memory_signal"] < 0.1


def test_a_state_that_keeps_everything_reaches_every_step():
    cell = keras.layers.SimpleRNN(1, activation="linear", recurrent_initializer="identity")
    assert probed(cell) == {"memory": 60.0, "memory_steps": 60.0}


def test_ids_behind_an_embedding_and_steps_that_were_pooled_below():
    ids = RANDOM.integers(0, 20, (200, 60))
    half = keras.initializers.Constant(0.5)

    def cell():
        return keras.layers.SimpleRNN(1, activation="linear", recurrent_initializer=half)

    assert probed(keras.layers.Embedding(20, 4), cell(), x=ids, shape=(60,))["memory"] == 10
    assert probed(keras.layers.AveragePooling1D(2), cell())["memory"] == 20
    assert probed(keras.layers.Masking(), cell())["memory"] == 10


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.Flatten()],
        [keras.layers.Bidirectional(keras.layers.LSTM(2))],
        [keras.layers.LSTM(2, go_backwards=True)],
    ],
)
def test_nothing_where_no_layer_reads_the_steps_in_their_order(layers):
    assert probed(*layers) == {}
