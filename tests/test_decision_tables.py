"""Which evidence separates the causes of one symptom: symptom, evidence, first finding.

Each line of the table is a record that shows the symptom and differs from its neighbors in the
evidence named. Read it as the doctor's decision table.
"""

import dataclasses

import numpy as np
import pytest

from lossdoctor.engine import diagnose_record
from lossdoctor.finding import Severity
from lossdoctor.record.run import (
    LossRecord,
    MetricRecord,
    NonFiniteOrigin,
    OptimizerRecord,
    TargetPairing,
    VariableSeries,
)
from tests.records import (
    chain,
    config_record,
    dense,
    history,
    history_record,
    layer,
    mlp,
    per_layer,
    trained,
    unit_series,
    variables,
    weighted,
    with_weights,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(500, 20))
Y = X[:, 0] + 0.1 * RANDOM.normal(size=500)
BITS = (X[:, 0] > 0).astype(int)
IDS = np.arange(500) % 3
SOFT = 0.1 / 3 + 0.9 * np.eye(3)[IDS]
BINARY, SPARSE = "binary_crossentropy", "sparse_categorical_crossentropy"
SIGMOID = mlp(activation="sigmoid")
SOFTMAX = mlp(units=3, activation="softmax")
XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])

FALLING = np.geomspace(1.0, 0.05, 40)
RISING = np.geomspace(1.0, 8.0, 20)
FLAT = np.full(40, 1.0)
JUMPING = 0.6 + 0.15 * np.tile([1, -1], 20)
LOST = [1.0, 3.0, np.nan, np.nan]
ACCURACY = (MetricRecord(output=0, name="a", requested="accuracy", class_name="BinaryAccuracy"),)


def run(loss, *, x=X, y=Y, model=None, with_loss=None, pairing=None, **options):
    """A run on `x` and `y` whose epochs cost what `loss` says."""
    fields = {
        name: options.pop(name)
        for name in ("metrics", "units", "variables", "non_finite", "probes", "validation", "fit")
        if name in options
    }
    record = trained(loss, model=model or mlp(inputs=np.shape(x)[-1]), **options)
    data = config_record(x=x, y=y, predictions=options.get("predictions")).train
    if pairing is not None:
        data = dataclasses.replace(data, pairing=(TargetPairing(output=0, rows=500, **pairing),))
    losses = record.losses
    if with_loss is not None:
        losses = (LossRecord(name=with_loss, from_logits=False, baseline=1.0, floor=0.0),)
    return dataclasses.replace(record, train=data, losses=losses, **fields)


def lost(source, **options):
    """A run whose loss stopped being finite, first at `source`."""
    origin = NonFiniteOrigin(epoch=2, step=32, source=source)
    return run(LOST, non_finite=origin, **options)


def with_nan(array):
    array = np.array(array, dtype=float)
    array[7] = np.nan
    return array


def still(model=None, **matrices) -> VariableSeries:
    return variables(model or mlp(), count=640, **matrices)


def fading():
    model = mlp(hidden=((20, "sigmoid"),) * 8)
    norms = per_layer(model, np.geomspace(1e-7, 1.0, 9))
    series = still(model, gradient_norm=norms, update_norm=np.array(norms) * 1e-2)
    return run(FLAT, model=model, variables=series)


def validated(loss, val_loss, *, x_val=X, y_val=BITS, **logs):
    y = logs.pop("y", BITS)
    data = config_record(x=x_val, y=y_val).train
    return run(
        loss,
        y=y,
        model=SIGMOID,
        with_loss=BINARY,
        validation=data,
        val_loss=val_loss,
        **logs,
    )


def signs():
    return run(-FALLING, y=np.where(BITS, 1, -1), model=SIGMOID, with_loss=BINARY)


def unknown(loss):
    own = LossRecord(name="own", custom=True, baseline=None, floor=None)
    return dataclasses.replace(run(loss), losses=(own,))


def masked():
    model = chain(
        dense("a", 16, 20, activation="relu"), layer("drop", "Dropout", rate=0.9), dense("b", 1, 16)
    )
    record = run(JUMPING, model=model, ratio=2e-3)
    return dataclasses.replace(
        record, steps=dataclasses.replace(record.steps, epoch_loss_std=np.full(40, 2.0))
    )


def recurrent():
    cell = weighted(layer("cell", "LSTM", activation="relu"), 1, 128)
    cell = weighted(cell, 32, 128, name="recurrent_kernel")
    cell = dataclasses.replace(cell, input_shape=(None, 50, 1))
    return chain(cell, dense("head", 1, 32))


def in_half_precision():
    (output,) = SIGMOID.outputs
    return dataclasses.replace(SIGMOID, outputs=(dataclasses.replace(output, dtype="float16"),))


def frozen():
    model = with_weights(mlp(), "kernel", trainable=False)
    layers = tuple(dataclasses.replace(x, trainable=False) for x in model.layers)
    return dataclasses.replace(model, layers=layers, trainable_parameters=0)


def jumping_rate():
    rates = np.r_[np.full(10, 0.01), np.full(10, 1.0)]
    loss = np.r_[np.geomspace(1.0, 0.3, 10), np.geomspace(2.0, 9.0, 10)]
    record = run(loss, ratio=np.geomspace(0.3, 5, 320))
    return dataclasses.replace(record, history=history(loss=loss, learning_rate=rates))


def padded():
    ids = RANDOM.integers(1, 100, (500, 50))
    ids[:, 20:] = 0
    words = layer("words", "Embedding", input_dim=100, output_dim=8)
    model = chain(
        words, layer("cell", "GRU"), dense("head", 1, 16, activation="sigmoid"), inputs=50
    )
    return run(FLAT, x=ids, y=BITS, ratio=0.01, model=model, with_loss=BINARY)


def noisy(loss):
    """Successive gradients that hardly agree, from batches of 8 among 500."""
    record = run(loss, ratio=5e-4)
    series = record.variables
    moved = np.sqrt(np.sum(series.update_norm**2, axis=1))
    variables = dataclasses.replace(
        series,
        gradient_norm=np.full_like(series.gradient_norm, 1 / np.sqrt(len(series.paths))),
        curvature_norm=np.r_[np.nan, np.sqrt(1.8) / moved[:-1]],
    )
    train = dataclasses.replace(record.train, batch_size=8)
    return dataclasses.replace(record, variables=variables, train=train)


def at_its_floor():
    record = run(0.6 + 0.01 * FALLING, y=SOFT, model=SOFTMAX, with_loss="categorical_crossentropy")
    losses = (dataclasses.replace(record.losses[0], baseline=1.1, floor=0.6),)
    return dataclasses.replace(record, losses=losses)


def lagging():
    """Batch statistics that the training rows themselves do not agree with."""
    normalization = weighted(layer("norm", "BatchNormalization", momentum=0.9), 20, name="gamma")
    model = chain(normalization, dense("a", 25, 20, activation="relu"), dense("b", 1, 25))
    pairing = {"loss": 2.0, "r2": -1.0}
    validation = config_record(x=X, y=Y).train
    return run(FALLING, model=model, pairing=pairing, validation=validation, val_loss=TURNING)


TURNING = np.r_[np.geomspace(1.0, 0.4, 10), np.geomspace(0.41, 1.5, 30)]
HELD, LOWER = 0.95 + 0.004 * RANDOM.random(40), np.r_[np.full(10, 0.9), np.linspace(0.9, 0.6, 30)]
NOISY = {
    "signal": 0.29,
    "signal_rows": 500.0,
    "minority_rows": 246.0,
    "label_noise": 0.23,
    "label_noise_rows": 128.0,
    "contradicted": 0.23,
    "neighbor_error": 0.23,
}

TABLE = {
    "NaN": {
        "the inputs hold NaN": (lambda: lost("inputs", x=with_nan(X)), "non_finite_data"),
        "the targets hold NaN": (lambda: lost("targets", y=with_nan(Y)), "non_finite_data"),
        "class ids beyond the head": (
            lambda: lost("loss", y=IDS + 1, model=SOFTMAX, with_loss=SPARSE),
            "labels_out_of_range",
        ),
        "a logarithm of what the head puts out": (
            lambda: lost("loss", y=np.abs(np.round(3 * X[:, 0])), with_loss="poisson"),
            "final_activation_range",
        ),
        "sound data, steps beyond the weights' size": (
            lambda: lost("gradients", ratio=np.geomspace(0.5, 50, 64)),
            "high_learning_rate",
        ),
        "the same steps on inputs in the hundreds": (
            lambda: lost("gradients", x=300 * X, ratio=np.geomspace(0.5, 50, 64)),
            "unscaled_inputs",
        ),
        "the same steps on targets in the hundreds": (
            lambda: lost("gradients", y=300 * Y, ratio=np.geomspace(0.5, 50, 64)),
            "unscaled_targets",
        ),
        "the same steps from kernels a hundred times too large": (
            lambda: lost(
                "gradients",
                model=with_weights(
                    mlp(), "kernel", initializer="RandomNormal", std=30.0, abs_max=90.0
                ),
                ratio=np.geomspace(0.5, 50, 64),
            ),
            "poor_initialization",
        ),
        "relu inside an LSTM": (lambda: lost("forward", model=recurrent()), "relu_recurrent"),
        "a probability in half precision": (
            lambda: lost("loss", y=BITS, model=in_half_precision(), with_loss=BINARY),
            "mixed_precision_head",
        ),
        "sound data, small steps, NaN first in the loss": (lambda: lost("loss"), "non_finite_loss"),
        "weights that were NaN before the first step": (
            lambda: lost("weights", model=with_weights(mlp(), "kernel", mean=np.nan)),
            "non_finite_loss",
        ),
    },
    "rising": {
        "steps beyond the weights' size": (
            lambda: run(RISING, ratio=np.geomspace(0.3, 5, 320)),
            "high_learning_rate",
        ),
        "the same steps on targets in the hundreds": (
            lambda: run(RISING, y=300 * Y, ratio=np.geomspace(0.3, 5, 320)),
            "unscaled_targets",
        ),
        "the same steps on inputs in the hundreds": (
            lambda: run(RISING, x=300 * X, ratio=np.geomspace(0.3, 5, 320)),
            "unscaled_inputs",
        ),
        "where a schedule makes the rate a hundred times larger": (jumping_rate, "schedule_shock"),
        "labels beyond what the loss can take": (
            lambda: run(RISING, y=IDS + 1, model=SOFTMAX, with_loss=SPARSE),
            "labels_out_of_range",
        ),
        "small steps": (lambda: run(RISING), "diverging_loss"),
        "a history that climbs without end": (
            lambda: history_record(loss=np.geomspace(1, 1e6, 20)),
            "high_learning_rate",
        ),
        "a custom loss": (lambda: unknown(RISING), None),
    },
    "flat": {
        "no update although there are gradients": (
            lambda: run(FLAT, variables=still(update_norm=0.0)),
            "stalled_updates",
        ),
        "no gradient from any example for any unit of a layer": (
            lambda: run(FLAT, units=unit_series({"dense": 1.0, "dense_1": 0.0}, epochs=40)),
            "dead_units",
        ),
        "a softmax over one unit": (
            lambda: run(
                FLAT, y=BITS, model=mlp(activation="softmax"), with_loss="mean_squared_error"
            ),
            "single_unit_softmax",
        ),
        "gradients that fade towards the input": (fading, "saturating_hidden_activations"),
        "kernels that begin at zero": (
            lambda: run(FLAT, model=with_weights(mlp(), "kernel", std=0.0, abs_max=0.0)),
            "poor_initialization",
        ),
        "updates of a millionth of the weights": (
            lambda: run(FLAT, ratio=1e-6),
            "low_learning_rate",
        ),
        "updates larger than the weights": (lambda: run(FLAT, ratio=3.0), "high_learning_rate"),
        "no simple model finds a signal": (
            lambda: run(FLAT, ratio=0.01, probes={"signal": 0.0, "signal_rows": 500.0}),
            "uninformative_inputs",
        ),
        "XOR and no hidden layer": (
            lambda: run(
                FLAT,
                x=XOR,
                y=XOR.sum(axis=1) % 2,
                ratio=0.01,
                model=mlp(inputs=2, hidden=(), activation="sigmoid"),
                with_loss=BINARY,
                probes={"linear_fit": 0.0},
            ),
            "missing_hidden_activation",
        ),
        "inputs that never vary": (lambda: run(FLAT, x=np.zeros((500, 20))), "constant_features"),
        "a schedule that is spent": (
            lambda: run(
                FLAT,
                optimizer=OptimizerRecord(
                    class_name="SGD",
                    learning_rate=0.1,
                    schedule="ExponentialDecay",
                    schedule_values=tuple(0.1 * 0.3 ** np.arange(33.0)),
                ),
            ),
            "optimizer_settings",
        ),
        "a learning rate of 0": (
            lambda: run(FLAT, ratio=0.0, learning_rate=0.0),
            "optimizer_settings",
        ),
        "every layer frozen": (
            lambda: dataclasses.replace(run(FLAT), model=frozen(), variables=None),
            "frozen_model",
        ),
        "a penalty with a factor of 1": (
            lambda: run(FLAT, ratio=0.01, model=with_weights(mlp(), "kernel", l2=1.0)),
            "excessive_regularization",
        ),
        "probabilities that the head cannot give": (
            lambda: run(FLAT, y=BITS, ratio=0.01, with_loss=BINARY),
            "missing_final_activation",
        ),
        "targets that the head cannot reach": (
            lambda: run(FLAT, y=-np.abs(Y) - 1, ratio=0.01, model=mlp(activation="relu")),
            "final_activation_range",
        ),
        "sequences that end in padding": (padded, "unmasked_padding"),
        "the entropy of soft labels": (at_its_floor, None),
        "none of these": (lambda: run(FLAT, ratio=0.01), "loss_plateau"),
        "a history at ln 3": (
            lambda: history_record(loss=np.full(20, np.log(3))),
            "constant_predictions",
        ),
    },
    "oscillating": {
        "late steps of a tenth of the weights": (
            lambda: run(JUMPING, ratio=0.1),
            "high_learning_rate",
        ),
        "units dropped at random explain jumps of that size": (
            masked,
            "excessive_dropout",
        ),
        "small steps": (lambda: run(JUMPING, ratio=5e-4), "oscillating_loss"),
        "batches of few examples whose gradients disagree": (
            lambda: noisy(JUMPING),
            "noisy_gradients",
        ),
        "jumps of a fiftieth of what was learned": (
            lambda: run(0.1 + (JUMPING - 0.6) / 50, ratio=5e-4),
            None,
        ),
    },
    "validation rising": {
        "its metric worsens too": (
            lambda: validated(FALLING, TURNING, accuracy=HELD, val_accuracy=LOWER),
            "overfitting",
        ),
        "its metric holds": (
            lambda: validated(FALLING, TURNING, accuracy=HELD, val_accuracy=HELD),
            "overconfidence",
        ),
        "its inputs are on another scale": (
            lambda: validated(
                FALLING, TURNING, x_val=40 * X + 90, accuracy=HELD, val_accuracy=LOWER
            ),
            "validation_shift",
        ),
        "a class that training lacks": (
            lambda: validated(FALLING, TURNING, y=np.zeros(500), accuracy=HELD, val_accuracy=LOWER),
            "missing_class",
        ),
        "the training rows are as bad in inference mode": (lagging, "train_inference_gap"),
        "one epoch": (
            lambda: validated(FALLING, np.r_[np.geomspace(1, 0.1, 39), 0.15]),
            None,
        ),
        "twenty rows, and no metric": (
            lambda: validated(FALLING, TURNING, x_val=X[:20], y_val=BITS[:20]),
            None,
        ),
        "training labels that contradict their neighbors": (
            lambda: validated(FALLING, TURNING, accuracy=HELD, val_accuracy=LOWER, probes=NOISY),
            "label_noise",
        ),
    },
    "accuracy stuck": {
        "labels -1 and 1 compared with 0 and 1": (
            lambda: run(
                FALLING,
                y=np.where(BITS, 1, -1),
                model=mlp(activation="tanh"),
                with_loss="squared_hinge",
                metrics=ACCURACY,
            ),
            "metric_task",
        ),
        "a softmax over one unit, whose logits the loss sees": (
            lambda: run(FALLING, y=BITS, model=mlp(activation="softmax"), with_loss=BINARY),
            "single_unit_softmax",
        ),
        "one sigmoid for three classes": (
            lambda: run(FALLING, y=IDS, model=SIGMOID, with_loss=BINARY),
            "loss_label_encoding",
        ),
        "two units for three classes": (
            lambda: run(FALLING, y=IDS, model=mlp(units=2, activation="softmax"), with_loss=SPARSE),
            "output_units",
        ),
        "continuous targets": (lambda: run(FALLING, metrics=ACCURACY), "metric_task"),
        "a loss well below a constant's, from decisions at chance": (
            lambda: run(
                FALLING,
                y=BITS,
                model=SIGMOID,
                with_loss=BINARY,
                pairing={"error_rate": 0.5, "chance_error_rate": 0.5},
            ),
            "loss_metric_divergence",
        ),
        "class ids regressed on": (lambda: run(FALLING, y=IDS, metrics=ACCURACY), "loss_task"),
        "every prediction 0 or 1 to machine precision, and wrong": (
            lambda: run(
                8 * FLAT,
                y=BITS,
                model=SIGMOID,
                with_loss=BINARY,
                pairing={"error_rate": 0.5, "chance_error_rate": 0.5, "saturated_wrong": 0.5},
            ),
            "saturated_output",
        ),
        "one class in a hundred": (
            lambda: run(
                0.05 * FALLING,
                y=np.arange(500) % 250 == 0,
                model=SIGMOID,
                with_loss=BINARY,
                pairing={"error_rate": 0.004, "chance_error_rate": 0.004},
            ),
            "class_imbalance",
        ),
        "labels that are all the same": (
            lambda: run(FALLING, y=np.zeros(500), model=SIGMOID, with_loss=BINARY),
            "missing_class",
        ),
        "a history whose accuracy never moves": (
            lambda: history_record(loss=np.linspace(0.7, 0.6, 20), accuracy=np.full(20, 0.62)),
            "constant_predictions",
        ),
    },
    "negative": {
        "labels -1 and 1 under a cross-entropy": (signs, "labels_out_of_range"),
        "quantities under a cross-entropy": (
            lambda: run(-FALLING, y=3 * Y, model=SIGMOID, with_loss=BINARY),
            "loss_task",
        ),
        "three class ids for one sigmoid": (
            lambda: run(-FALLING, y=IDS, model=SIGMOID, with_loss=BINARY),
            "loss_label_encoding",
        ),
        "grey levels up to 255": (
            lambda: run(
                -FALLING,
                y=RANDOM.integers(0, 256, (500, 8)),
                model=mlp(units=8, activation="sigmoid"),
                with_loss=BINARY,
            ),
            "labels_out_of_range",
        ),
        "a Poisson loss of counts": (
            lambda: run(
                -FALLING,
                y=np.round(np.exp(X[:, 0])),
                model=mlp(activation="exponential"),
                with_loss="poisson",
            ),
            None,
        ),
        "a loss of the user's own": (lambda: unknown(-FALLING), None),
        "a history that does not name its loss": (
            lambda: history_record(loss=-FALLING),
            "negative_loss",
        ),
    },
}


@pytest.mark.parametrize(
    ("record", "first"),
    [
        pytest.param(record, first, id=f"{symptom}: {evidence}")
        for symptom, branches in TABLE.items()
        for evidence, (record, first) in branches.items()
    ],
)
def test_the_evidence_decides_between_the_causes_of_a_symptom(record, first):
    diagnosis = diagnose_record(record())
    assert not [outcome for outcome in diagnosis.outcomes if outcome.status == "failed"]
    if first is None:
        assert not [f for f in diagnosis.findings if f.severity >= Severity.WARNING]
    else:
        assert diagnosis.findings[0].rule == first
