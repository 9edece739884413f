"""The code of remedies that rebuild the model, executed on real Keras models."""

import dataclasses

import numpy as np
import pytest

from lossdoctor.check import check_config
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import FitRecord, LossRecord, OptimizerRecord
from lossdoctor.rules._remedies.architecture import (
    change_layers,
    replace_normalization,
    unfreeze,
)
from lossdoctor.rules._remedies.code import Code, rebuild_code

keras = pytest.importorskip("keras")


def setup_of(model):
    from lossdoctor.record.snapshot import snapshot_model

    return Setup(
        model=snapshot_model(model),
        losses=(LossRecord(name="mean_squared_error"),),
        metrics=(),
        optimizer=OptimizerRecord(class_name="SGD", learning_rate=0.01),
        fit=FitRecord(),
    )


def executed(code, model):
    names = {"model": model, "keras": keras, "np": np}
    exec(code, names)
    return names["model"]


def sequential(*layers, shape=(4,)):
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile("sgd", "mse")
    return model


def test_settings_of_plain_layers_change():
    model = sequential(keras.layers.Dense(5, name="a", kernel_regularizer="l2"))
    changes = {"activation": "relu", "kernel_regularizer": Code("keras.regularizers.L2(0.0001)")}
    changed = executed(change_layers(setup_of(model), {"a": changes}), model)
    assert changed.get_layer("a").activation is keras.activations.relu
    assert float(changed.get_layer("a").kernel_regularizer.l2) == pytest.approx(1e-4)
    assert changed.compiled


def test_the_code_serves_a_model_built_once_more_under_other_automatic_names():
    setup = setup_of(sequential(keras.layers.Dense(5), keras.layers.Dense(1)))
    again = sequential(keras.layers.Dense(5), keras.layers.Dense(1))
    first = setup.model.layer_names[0]
    assert again.layers[0].name != first
    changed = executed(change_layers(setup, {first: {"activation": "relu"}}), again)
    assert [layer.activation.__name__ for layer in changed.layers] == ["relu", "linear"]


def test_a_loss_of_ones_own_is_kept():
    def own(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))

    model = sequential(keras.layers.Dense(5, name="a"), keras.layers.BatchNormalization())
    model.compile("sgd", own)
    setup = dataclasses.replace(setup_of(model), losses=(LossRecord(name="own", custom=True),))
    for code in (change_layers(setup, {"a": {"units": 7}}), replace_normalization(setup)):
        assert executed(code, model).loss is own


@pytest.mark.parametrize("wrapper", ["Bidirectional", "TimeDistributed"])
def test_settings_of_wrapped_layers_change(wrapper):
    inner = (
        keras.layers.LSTM(3, activation="relu")
        if wrapper == "Bidirectional"
        else keras.layers.Dense(3, activation="relu")
    )
    model = sequential(getattr(keras.layers, wrapper)(inner, name="w"), shape=(6, 2))
    changed = executed(change_layers(setup_of(model), {"w": {"activation": "tanh"}}), model)
    layer = changed.get_layer("w")
    found = layer.forward_layer if wrapper == "Bidirectional" else layer.layer
    assert found.activation is keras.activations.tanh


def test_unfreezing_reaches_every_layer():
    frozen = keras.layers.Dense(5, trainable=False)
    model = sequential(frozen, keras.layers.Dense(1))
    assert len(executed(unfreeze(setup_of(model)), model).trainable_variables) == 4


def test_layer_normalization_takes_the_place_of_batch_normalization():
    model = sequential(
        keras.layers.Dense(5), keras.layers.BatchNormalization(name="n"), keras.layers.Dense(1)
    )
    changed = executed(replace_normalization(setup_of(model)), model)
    assert isinstance(changed.get_layer("n"), keras.layers.LayerNormalization)
    assert changed.predict(np.zeros((2, 4)), verbose=0).shape == (2, 1)


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred))


def test_a_clone_keeps_a_loss_of_the_users_own_and_what_a_lambda_does():
    twice = keras.layers.Lambda(lambda x: 2 * x)
    model = keras.Sequential([keras.Input((4,)), twice, keras.layers.Dense(1, name="head")])
    model.compile("sgd", own_loss)
    setup = dataclasses.replace(setup_of(model), losses=(LossRecord(name="own", custom=True),))
    compiled = "model.compile(optimizer=keras.optimizers.SGD(0.1), loss=model.loss)"
    code = rebuild_code(setup, {"head": {"activation": "sigmoid"}}, compile_line=compiled)
    changed = executed(code, model)
    assert changed.loss is own_loss
    assert changed.get_layer("head").activation is keras.activations.sigmoid
    assert changed.layers[0].function(3) == 6
    changed.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)


def test_padding_among_the_labels_of_positions_is_left_out_by_the_loss():
    def tagger():
        ids, tags = keras.Input((6,)), keras.layers.Dense(3, activation="softmax")
        words = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
        model = keras.Model(ids, keras.layers.TimeDistributed(tags)(words))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    draw = np.random.default_rng(0)
    x, y = draw.integers(1, 9, (40, 6)), draw.integers(0, 3, (40, 6))
    y[:, 4:] = -1
    model = tagger()
    finding = check_config(model, y, x=x).findings[0]
    assert finding.rule == "labels_out_of_range"
    assert "class ids 0 to 2" in finding.message
    changed = executed(finding.remedies[0].code, model)
    assert "keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)" in finding.remedies[0].code
    changed.fit(x, y, verbose=0)
    again = check_config(changed, y, x=x).findings
    assert "labels_out_of_range" not in [finding.rule for finding in again]
