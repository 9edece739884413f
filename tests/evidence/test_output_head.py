import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.output_head import LossFamily, OutputHeads
from lossdoctor.record.run import LayerRecord, LossRecord, RunRecord, TargetPairing
from tests.records import config_record, mlp


def head(model=None, **options):
    return OutputHeads.from_record(config_record(model=model or mlp(), **options)).heads[0]


@pytest.mark.parametrize(
    ("loss", "family"),
    [
        ("mean_squared_error", LossFamily.REGRESSION),
        ("binary_focal_crossentropy", LossFamily.BINARY),
        ("kl_divergence", LossFamily.DIVERGENCE),
        ("squared_hinge", LossFamily.HINGE),
        ("tversky", None),
        ("mine", None),
    ],
)
def test_family_of_a_loss(loss, family):
    assert head(loss=loss).family is family


def test_a_users_loss_has_no_family_whatever_its_name():
    assert head(loss=LossRecord(name="mean_squared_error", custom=True)).family is None


@pytest.mark.parametrize(
    ("activation", "probability"),
    [("sigmoid", True), ("softmax", True), ("linear", False), ("tanh", False), (None, None)],
)
def test_probability_from_the_activation(activation, probability):
    assert head(mlp(activation=activation)).is_probability is probability


def test_probability_from_what_was_predicted():
    unknown = mlp(activation=None)
    assert head(unknown, predictions=np.linspace(0, 1, 50)).is_probability is True
    assert head(unknown, predictions=np.linspace(-1, 1, 50)).is_probability is False


def test_range_of_an_activation():
    assert head(mlp(activation="tanh")).range == (-1, 1)
    assert head(mlp(activation=None)).range is None


def test_units_and_softmax_axis():
    assert head(mlp(activation="softmax")).single_unit_softmax
    assert not head(mlp(units=2, activation="softmax")).single_unit_softmax
    assert head(mlp(units=4)).units == 4


def test_the_tail_is_what_reads_from_the_last_weighted_layer():
    softmax = LayerRecord(name="s", class_name="Softmax", activation="softmax", inbound=(2,))
    found = head(mlp(units=3, extra_layers=(softmax,)))
    assert [layer.name for layer in found.tail] == ["s"]
    assert found.activation_layers == (softmax,)


def test_where_keras_finds_the_logits():
    sigmoid = mlp(activation="sigmoid")
    assert head(sigmoid, loss="binary_crossentropy").logits_reach_the_loss
    assert not head(sigmoid, loss="binary_focal_crossentropy").logits_reach_the_loss
    assert not head(sigmoid, loss="mean_squared_error").logits_reach_the_loss


@pytest.mark.parametrize(("rate", "learned"), [(0.1, True), (0.25, True), (0.3, False)])
def test_learned_is_half_the_errors_of_chance(rate, learned):
    record = config_record(y=np.arange(10))
    pairing = TargetPairing(output=0, rows=10, error_rate=rate, chance_error_rate=0.5)
    record = dataclasses.replace(
        record, train=dataclasses.replace(record.train, pairing=(pairing,))
    )
    assert OutputHeads.from_record(record).heads[0].learned is learned
    assert head().learned is None


def test_what_is_missing_or_not_judged():
    with pytest.raises(NotRecorded, match="model"):
        OutputHeads.from_record(RunRecord(source="history"))
    with pytest.raises(NotRecorded, match="loss"):
        OutputHeads.from_record(RunRecord(source="config", model=mlp()))
    for changes in ({"custom_train_step": True}, {"custom_compute_loss": True}):
        model = dataclasses.replace(mlp(), **changes)
        with pytest.raises(NotApplicable, match="its own"):
            OutputHeads.from_record(config_record(model=model)).judged_by_keras()
    with pytest.raises(NotApplicable, match="'mine'"):
        OutputHeads.from_record(config_record(loss="mine")).judged_by_keras()
