import dataclasses

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
    weighted,
)

SLUG = "relu_recurrent"
Y = [0, 1] * 20


def lstm(activation="relu", steps=50, initializer="Orthogonal", class_name="LSTM", **config):
    made = layer("cell", class_name, activation=activation, **config)
    made = weighted(weighted(made, 1, 128), 32, 128, name="recurrent_kernel")
    kernel, recurrent = made.weights
    return dataclasses.replace(
        made,
        input_shape=(None, steps, 1),
        weights=(kernel, dataclasses.replace(recurrent, initializer=initializer)),
    )


def record(cell):
    return config_record(model=chain(cell, dense("head", 1, 32)), y=Y)


def test_relu_in_recurrent_layers():
    for class_name in ("LSTM", "GRU", "SimpleRNN"):
        (finding,) = findings_of(SLUG, record(lstm(class_name=class_name)))
        assert finding.severity is Severity.WARNING
        assert "'cell' feeds relu outputs back over 50 time steps" in finding.message
        assert '"cell": {"activation": "tanh"}' in finding.remedies[0].code


def test_silent_on_tanh_short_sequences_and_irnn():
    assert findings_of(SLUG, record(lstm(activation="tanh"))) == ()
    assert findings_of(SLUG, record(lstm(steps=10))) == ()
    assert len(findings_of(SLUG, record(lstm(steps=11)))) == 1
    assert findings_of(SLUG, record(lstm(initializer="Identity"))) == ()


def test_sequences_of_varying_length_count_as_long():
    (finding,) = findings_of(SLUG, record(lstm(steps=None)))
    assert finding.measurements == ()


def test_wrapped_layers_are_changed_one_level_down():
    (finding,) = findings_of(SLUG, record(lstm(wrapper="Bidirectional")))
    assert "clone_function=changed" in finding.remedies[0].code


def test_a_run_that_learned_makes_it_information():
    assert findings_of(SLUG, learned(record(lstm()), 0.8))[0].severity is Severity.INFO


def test_not_applicable_without_recurrent_layers():
    assert outcome_of(SLUG, config_record(model=mlp(), y=Y)).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
