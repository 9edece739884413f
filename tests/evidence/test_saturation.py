import dataclasses

import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.saturation import Saturation
from lossdoctor.record.run import ActivationRecord
from tests.records import chain, dense, layer, mlp, run_record, trained, with_weights


def seen(name: str, share: float | None, activation: str = "tanh", **changes) -> ActivationRecord:
    found = ActivationRecord(
        layer=name,
        activation=activation,
        rows=256,
        mean=0.0,
        std=0.5,
        saturated_fraction=share,
    )
    return dataclasses.replace(found, **changes)


def saturation(model, *activations: ActivationRecord) -> Saturation:
    return Saturation.from_record(
        run_record(trained([1.0] * 4, model=model), activations=activations)
    )


def test_hidden_layers_count_and_heads_do_not():
    model = mlp(hidden=((25, "tanh"), (25, "tanh")), activation="sigmoid")
    found = saturation(model, seen("dense", 0.9), seen("dense_1", 0.1), seen("dense_2", 1.0))
    assert [each.layer for each in found.layers] == ["dense", "dense_1"]
    assert [each.layer for each in found.above(0.5)] == ["dense"]


def test_the_activation_layer_of_a_head_does_not_count():
    model = chain(
        dense("a", 20, 20, activation="tanh"), dense("b", 1, 20), layer("act", "Activation")
    )
    found = saturation(model, seen("a", 0.2), seen("act", 1.0, "sigmoid"))
    assert [each.layer for each in found.layers] == ["a"]


def test_an_activation_layer_knows_the_weights_that_feed_it():
    model = chain(
        dense("a", 25, 20), layer("act", "Activation", activation="tanh"), dense("b", 1, 25)
    )
    model = with_weights(model, "kernel", std=1.0)
    found = saturation(model, seen("act", 0.8)).layers[0]
    assert found.weighted == "a"
    assert found.kernel_scale == pytest.approx(20**0.5)


def test_recurrent_layers_and_layers_without_tails_do_not_count():
    model = mlp(hidden=((25, "relu"),))
    recurrent = dataclasses.replace(model.layers[1], class_name="LSTM", activation="tanh")
    model = dataclasses.replace(model, layers=(model.layers[0], recurrent, model.layers[2]))
    with pytest.raises(NotApplicable, match="flat tails"):
        saturation(model, seen("dense", 1.0))
    with pytest.raises(NotApplicable, match="flat tails"):
        saturation(mlp(), seen("dense", None, "relu"))


def test_not_recorded():
    with pytest.raises(NotRecorded):
        saturation(mlp())
