"""What the installed Keras really does, on the smallest model that shows it.

Rules state these facts; each is trained here so that a new Keras cannot make a rule a liar.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from sklearn.datasets import make_blobs, make_circles

from tests.records import config_record, findings_of, mlp

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
    pytest.mark.filterwarnings("ignore:.*from_logits"),
]

CIRCLES, BITS = make_circles(200, noise=0.1, factor=0.5, random_state=1)
BLOBS, IDS = make_blobs(210, centers=3, cluster_std=1.5, random_state=2)
BLOBS = (BLOBS - BLOBS.mean(axis=0)) / BLOBS.std(axis=0)
ONE_HOT = np.eye(3)[IDS]


def network(units, activation, loss, *, metrics=("accuracy",), layers=(), rate=0.03):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(16, "relu", kernel_initializer="he_uniform"),
            keras.layers.Dense(units, activation),
            *layers,
        ]
    )
    model.compile(keras.optimizers.Adam(rate), loss, metrics=list(metrics))
    return model


def train(model, x, y, steps=40):
    """Logged losses, logged accuracies, and predictions after `steps` full-batch steps.

    Four epochs (fewer for fewer steps) over repeated data: an epoch costs more than its steps.
    """
    epochs = min(4, steps)
    repeats = steps // epochs
    x_all, y_all = np.concatenate([x] * repeats), np.concatenate([y] * repeats)
    logs = model.fit(
        x_all, y_all, epochs=epochs, batch_size=len(x), shuffle=False, verbose=0
    ).history
    return logs["loss"], logs["accuracy"], model.predict_on_batch(x)


def accuracy(predictions, ids):
    return float((predictions.argmax(axis=1) == ids).mean())


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_hinge_on_zero_one_trains_exactly_like_on_signs(loss):
    on_bits, _, _ = train(network(1, "tanh", loss), CIRCLES, BITS, steps=5)
    on_signs, _, _ = train(network(1, "tanh", loss), CIRCLES, 2 * BITS - 1, steps=5)
    assert on_bits == on_signs


def test_hinge_converts_no_other_labels():
    loss, _, predictions = train(network(1, "tanh", "hinge"), CIRCLES, BITS + 1, steps=100)
    assert (predictions > 0.9).mean() > 0.99
    assert loss[-1] < 0.05


def test_a_sigmoid_under_hinge_keeps_half_of_the_loss():
    loss, _, predictions = train(network(1, "sigmoid", "hinge"), CIRCLES, 2 * BITS - 1, steps=100)
    assert predictions.min() >= 0
    assert loss[-1] == pytest.approx(0.5, abs=0.05)


def test_accuracy_on_signs_is_not_the_share_of_right_signs():
    _, logged, predictions = train(network(1, "tanh", "hinge"), CIRCLES, 2 * BITS - 1, steps=100)
    right = (np.sign(predictions[:, 0]) == 2 * BITS - 1).mean()
    assert right > 0.95
    assert logged[-1] < 0.6


def test_one_unit_softmax_hides_behind_binary_crossentropy():
    loss, logged, predictions = train(
        network(1, "softmax", "binary_crossentropy"), CIRCLES, BITS, steps=60
    )
    sigmoid_loss, _, _ = train(
        network(1, "sigmoid", "binary_crossentropy"), CIRCLES, BITS, steps=60
    )
    assert np.allclose(predictions, 1)
    assert logged[-1] == pytest.approx(BITS.mean(), abs=1e-6)
    assert loss == pytest.approx(sigmoid_loss, rel=1e-4)
    assert loss[-1] < 0.3 * loss[0]


def test_one_unit_softmax_gets_no_gradient_from_other_losses():
    model = network(1, "softmax", "mse")
    before = [w.numpy() for w in model.weights]
    loss, _, _ = train(model, CIRCLES, BITS, steps=3)
    assert all((a == b.numpy()).all() for a, b in zip(before, model.weights))
    assert loss[0] == loss[-1]


def test_binary_crossentropy_on_signs_falls_below_zero_without_bound():
    loss, logged, _ = train(
        network(1, "sigmoid", "binary_crossentropy"), CIRCLES, 2 * BITS - 1, steps=80
    )
    assert loss[-1] < loss[-2] < -1
    assert logged[-1] < 0.6


@pytest.mark.parametrize("layer_softmax", [False, True])
def test_from_logits_on_a_softmax_uses_the_logits_behind_it(layer_softmax):
    def last(from_logits):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        head = [keras.layers.Softmax()] if layer_softmax else []
        return network(3, "linear" if layer_softmax else "softmax", loss, layers=head)

    contradictory, _, _ = train(last(True), BLOBS, IDS, steps=4)
    plain, _, _ = train(last(False), BLOBS, IDS, steps=4)
    assert contradictory == pytest.approx(plain, rel=1e-6)


def test_from_logits_is_taken_literally_where_the_logits_are_lost():
    focal = keras.losses.BinaryFocalCrossentropy(from_logits=True)
    _, _, predictions = train(network(1, "sigmoid", focal), CIRCLES, BITS, steps=2)
    literal = float(focal(BITS[:, None], predictions))
    again = 1 / (1 + np.exp(-predictions))
    expected = float(keras.losses.BinaryFocalCrossentropy()(BITS[:, None], again))
    assert literal == pytest.approx(expected, rel=1e-4)


def test_two_softmaxes_bound_the_probability():
    model = network(
        3, "softmax", "sparse_categorical_crossentropy", layers=[keras.layers.Softmax()]
    )
    loss, _, predictions = train(model, BLOBS, IDS, steps=100)
    assert predictions.max() <= np.e / (np.e + 2) + 1e-6
    assert loss[-1] > np.log(1 + 2 / np.e) - 1e-3


def test_a_linear_head_is_clipped_and_a_relu_head_divides_zero_by_zero():
    loss, _, predictions = train(
        network(3, "linear", "categorical_crossentropy"), BLOBS, ONE_HOT, steps=40
    )
    healthy, _, probabilities = train(
        network(3, "softmax", "categorical_crossentropy"), BLOBS, ONE_HOT, steps=40
    )
    assert accuracy(predictions, IDS) < accuracy(probabilities, IDS) - 0.2
    assert loss[-1] > 2 * healthy[-1]
    with_zeros = np.where(np.arange(210)[:, None] == 0, 0.0, BLOBS)
    relu, _, _ = train(network(3, "relu", "categorical_crossentropy"), with_zeros, ONE_HOT, steps=1)
    assert np.isnan(relu[-1])


def test_one_unit_under_categorical_crossentropy_has_no_loss():
    loss, _, _ = train(network(1, "sigmoid", "categorical_crossentropy"), CIRCLES, BITS, steps=2)
    assert loss[-1] == pytest.approx(0, abs=1e-6)


def test_divergence_over_one_unit_or_sigmoids_is_won_by_answering_one():
    loss, _, predictions = train(network(1, "sigmoid", "kl_divergence"), CIRCLES, BITS, steps=100)
    assert loss[-1] < 0.01
    assert predictions.min() > 0.9
    _, _, predictions = train(network(3, "sigmoid", "kl_divergence"), BLOBS, ONE_HOT, steps=100)
    assert predictions.min() > 0.9


def test_divergence_broadcasts_a_column_of_ids():
    _, _, predictions = train(network(3, "softmax", "kl_divergence"), BLOBS, IDS[:, None], steps=60)
    assert accuracy(predictions, IDS) < 0.6
    assert predictions.std(axis=0).mean() < 0.1


def test_squared_error_broadcasts_a_column_of_ids():
    _, _, predictions = train(network(3, "softmax", "mse"), BLOBS, IDS[:, None], steps=60)
    assert accuracy(predictions, IDS) < 0.6


def test_sigmoids_under_a_categorical_loss_are_trained_as_a_softmax():
    sigmoid, _, scores = train(
        network(3, "sigmoid", "categorical_crossentropy"), BLOBS, ONE_HOT, steps=40
    )
    softmax, _, _ = train(
        network(3, "softmax", "categorical_crossentropy"), BLOBS, ONE_HOT, steps=40
    )
    assert sigmoid == pytest.approx(softmax, rel=1e-4)
    assert np.abs(scores.sum(axis=1) - 1).max() > 0.2


def test_a_softmax_under_binary_crossentropy_is_trained_as_sigmoids():
    softmax, _, _ = train(network(3, "softmax", "binary_crossentropy"), BLOBS, ONE_HOT, steps=20)
    sigmoid, _, _ = train(network(3, "sigmoid", "binary_crossentropy"), BLOBS, ONE_HOT, steps=20)
    assert softmax == pytest.approx(sigmoid, rel=1e-4)


def test_poisson_of_a_linear_head_is_not_a_number():
    loss, _, _ = train(network(1, "linear", "poisson"), CIRCLES, 3 * BITS, steps=1)
    assert np.isnan(loss[-1])


def test_percentage_errors_of_zero_drown_all_others():
    loss, _, _ = train(network(1, "linear", "mape"), CIRCLES, np.where(BITS, 5.0, 0.0), steps=1)
    assert loss[-1] > 1e6


def test_negative_targets_are_zero_to_the_logarithmic_error():
    errors = keras.losses.MeanSquaredLogarithmicError()
    assert float(errors([[-3.0]], [[0.0]])) == pytest.approx(0, abs=1e-6)


def test_binary_accuracy_over_one_hot_rows_rewards_answering_zero():
    metric = keras.metrics.BinaryAccuracy()
    metric.update_state(ONE_HOT, np.zeros_like(ONE_HOT))
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_categorical_accuracy_of_one_unit_is_always_one():
    metric = keras.metrics.CategoricalAccuracy()
    metric.update_state(BITS[:, None], np.random.default_rng(0).uniform(size=(200, 1)))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y"),
    [
        (3, "softmax", "categorical_crossentropy", IDS),
        (3, "softmax", "categorical_crossentropy", IDS[:, None]),
        (2, "softmax", "categorical_crossentropy", ONE_HOT),
        (3, "softmax", "sparse_categorical_crossentropy", ONE_HOT),
        (2, "softmax", "binary_crossentropy", IDS % 2),
        (3, "sigmoid", "binary_crossentropy", IDS),
        (3, "softmax", "kl_divergence", IDS),
    ],
)
def test_keras_refuses_to_fit(units, activation, loss, y):
    with pytest.raises(Exception, match=r"(?i)shape|rank|broadcast"):
        train(network(units, activation, loss), BLOBS, y, steps=1)


@pytest.mark.parametrize(("units", "y"), [(3, IDS + 1), (2, IDS), (2, 2 * (IDS > 0) - 1)])
def test_ids_beyond_the_units_raise_on_cpu(units, y):
    loss = "sparse_categorical_crossentropy"
    with pytest.raises(Exception, match=r"(?i)outside the valid range"):
        train(network(units, "softmax", loss), BLOBS, y, steps=1)


@pytest.mark.parametrize(("x", "y"), [(BLOBS.tolist(), IDS), (BLOBS, IDS.tolist())])
def test_python_lists_are_no_arrays_to_keras(x, y):
    model = network(3, "softmax", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="Unrecognized data type: x="):
        model.fit(x, y, verbose=0)


def test_a_last_axis_of_one_is_dropped_from_the_targets():
    loss = keras.losses.MeanSquaredError()
    targets, answers = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    assert float(loss(targets[..., None], answers)) == float(loss(targets, answers))


def test_a_sequence_is_compared_with_one_target_without_a_word():
    loss = keras.losses.MeanSquaredError()
    targets = np.arange(6.0)
    answers = np.ones((6, 4, 1)) * np.arange(4.0)[:, None]
    expected = np.mean((targets[:, None, None] - answers[0]) ** 2)
    assert float(loss(targets, answers)) == pytest.approx(expected)


def test_a_loss_class_of_ones_own_sees_all_pairs():
    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    def own(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    model = network(1, "linear", own, metrics=[own])
    y, answers = BITS.astype("float32"), model.predict_on_batch(CIRCLES)
    aligned, pairs = model.evaluate(CIRCLES, y, batch_size=200, verbose=0)
    assert aligned == pytest.approx(np.mean((y[:, None] - answers) ** 2), rel=1e-4)
    assert pairs == pytest.approx(np.mean((y - answers) ** 2), rel=1e-4)
    assert float(Own()(y, answers)) == pytest.approx(pairs, rel=1e-4)


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_the_proposed_sign_accuracy_counts_right_signs(dtype):
    signs = (2 * BITS - 1).astype(dtype)
    record = config_record(
        model=mlp(activation="tanh"), loss="hinge", y=signs, metrics={"accuracy": "BinaryAccuracy"}
    )
    (finding,) = findings_of("metric_task", record)
    names = {"model": network(1, "tanh", "hinge"), "keras": keras, "np": np}
    exec(finding.remedies[0].code, names)
    model = names["model"]
    _, logged = model.evaluate(CIRCLES, signs, batch_size=200, verbose=0)
    right = (np.sign(model.predict_on_batch(CIRCLES)[:, 0]) == signs).mean()
    assert logged == pytest.approx(right)
