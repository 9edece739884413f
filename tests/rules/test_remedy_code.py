"""The code of remedies keeps what it does not change, and runs as it stands."""

import pytest

from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LossRecord, OptimizerRecord
from lossdoctor.rules._remedies.code import compile_code, loss_object, optimizer_code, rebuild_code
from tests.records import config_record


def test_the_optimizer_keeps_what_differs_from_its_defaults():
    config = {"momentum": 0.9, "nesterov": False, "_defaults": {"momentum": 0.0, "nesterov": False}}
    optimizer = OptimizerRecord(class_name="SGD", learning_rate=0.5, config=config)
    assert optimizer_code(optimizer) == "keras.optimizers.SGD(learning_rate=0.5, momentum=0.9)"
    changed = optimizer_code(optimizer, learning_rate=1.0)
    assert changed == "keras.optimizers.SGD(learning_rate=1.0, momentum=0.9)"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("binary_crossentropy", "keras.losses.BinaryCrossentropy(from_logits=True)"),
        ("kl_divergence", "keras.losses.KLDivergence(from_logits=True)"),
    ],
)
def test_loss_objects_carry_their_keras_name(name, code):
    assert loss_object(name, from_logits=True) == code


def test_compile_keeps_loss_options_and_metrics():
    loss = LossRecord(name="binary_crossentropy", from_logits=True)
    setup = Setup.from_record(config_record(loss=loss, metrics={"accuracy": "BinaryAccuracy"}))
    line = compile_code(setup)
    assert "loss=keras.losses.BinaryCrossentropy(from_logits=True)" in line
    assert 'metrics=["accuracy"]' in line
    rebuilt = rebuild_code(setup, {"dense_1": {"activation": "sigmoid"}})
    assert '"dense_1": {"activation": "sigmoid"}' in rebuilt
    assert rebuilt.endswith(line)
    compile(rebuilt, "remedy", "exec")
