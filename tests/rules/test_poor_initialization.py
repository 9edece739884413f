import dataclasses

import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
    run_record,
    weighted,
)

SLUG = "poor_initialization"
Y = [0, 1] * 20


def kernel(layer, **changes):
    first, *others = layer.weights
    changes.setdefault("initializer", "RandomNormal")
    return dataclasses.replace(layer, weights=(dataclasses.replace(first, **changes), *others))


def bias(layer, mean):
    first, second = layer.weights
    return dataclasses.replace(layer, weights=(first, dataclasses.replace(second, mean=mean)))


HIDDEN, HEAD = dense("a", 25, 20, activation="relu"), dense("head", 1, 25)
ZERO = {"std": 0.0, "abs_max": 0.0, "initializer": "Zeros"}
EQUAL = {"std": 0.0, "mean": 0.1, "abs_max": 0.1, "initializer": "Constant"}


def found(*layers, **fields):
    return findings_of(SLUG, config_record(model=chain(*layers), y=Y, **fields))


@pytest.mark.parametrize(("alike", "words"), [(ZERO, "start at 0"), (EQUAL, "one and the same")])
def test_kernels_without_spread_are_an_error(alike, words):
    (finding,) = found(kernel(HIDDEN, **alike), kernel(HEAD, **alike))
    assert finding.severity is Severity.ERROR
    assert words in finding.message
    code = finding.remedies[0].code
    assert '"a": {"kernel_initializer": "he_uniform"}' in code
    assert '"head": {"kernel_initializer": "glorot_uniform"}' in code


def test_a_zero_layer_behind_relu_passes_nothing_a_zero_head_does():
    (finding,) = found(kernel(HIDDEN, **ZERO), HEAD)
    assert finding.layers == ("a",)
    assert found(HIDDEN, kernel(HEAD, **ZERO)) == ()


@pytest.mark.parametrize(("std", "fires"), [(0.3, False), (0.5, True)])
def test_a_recurrent_kernel_that_enlarges_the_state_at_every_step(std, fires):
    rnn = weighted(layer("rnn", "SimpleRNN", activation="tanh", units=64), 1, 64)
    rnn = weighted(rnn, 64, 64, name="recurrent_kernel", std=std)
    findings = found(rnn, HEAD)
    assert bool(findings) is fires
    if fires:
        assert "4 times larger than with the 0 ± 0.12 to 0.12 that suit" in findings[0].message
        assert "at every time step" in findings[0].message
        assert '"recurrent_initializer": "orthogonal"' in findings[0].remedies[0].code


def test_two_weights_may_lie_close_together_by_chance():
    low = (1 / 2) ** 0.5
    assert found(kernel(dense("a", 2, 1, activation="relu"), std=low / 12), HEAD) == ()
    assert len(found(kernel(dense("a", 20, 1, activation="relu"), std=1e-3), HEAD)) == 1


def test_a_random_layer_tells_equal_units_apart():
    assert found(kernel(HIDDEN, **EQUAL), dense("b", 9, 25, activation="relu"), HEAD) == ()


def test_equal_units_are_to_blame_where_the_run_failed():
    layers = (kernel(HIDDEN, **EQUAL), dense("b", 9, 25, activation="relu"), HEAD)
    record = config_record(model=chain(*layers), y=Y)
    (finding,) = findings_of(SLUG, learned(record, 0.5))
    assert finding.layers == ("a",)
    assert findings_of(SLUG, learned(record, 0.95)) == ()


def test_a_zero_logistic_regression_is_as_it_should_be():
    assert found(kernel(dense("head", 3, 20), **ZERO)) == ()


def test_a_mean_far_from_zero_adds_up_over_the_inputs():
    (finding,) = found(kernel(HIDDEN, mean=0.75, std=0.3), HEAD)
    assert finding.layers == ("a",)
    assert "around 0.8 ± 0.3" in finding.message
    assert found(kernel(HIDDEN, mean=0.2, std=0.3), HEAD) == ()


def test_kernels_far_outside_the_band():
    (finding,) = found(kernel(HIDDEN, std=10.0), HEAD)
    assert finding.severity is Severity.WARNING
    assert "31.6 times larger" in finding.message
    (finding,) = found(kernel(HIDDEN, std=1e-3), HEAD)
    assert "211 times smaller" in finding.message


def test_thresholds_stand_at_ten_times_the_band():
    high, low = (2 / 20) ** 0.5, (2 / 45) ** 0.5
    assert found(kernel(HIDDEN, std=9.9 * high), HEAD) == ()
    assert len(found(kernel(HIDDEN, std=10.1 * high), HEAD)) == 1
    assert found(kernel(HIDDEN, std=low / 9.9), HEAD) == ()
    assert len(found(kernel(HIDDEN, std=low / 10.1), HEAD)) == 1


def test_layers_that_are_less_far_off_multiply():
    def model(times, *between, activation="relu"):
        layers = [dense(f"d{i}", 20, 20, activation=activation) for i in range(4)]
        wide = [kernel(layer, std=times * (2 / 20) ** 0.5) for layer in layers]
        return found(*wide[:2], *between, *wide[2:], HEAD)

    (finding,) = model(3.2)
    assert "105 times with all layers together" in finding.message
    assert finding.layers == ("d0", "d1", "d2", "d3")
    assert model(3.1) == ()
    assert model(3.2, layer("norm", "LayerNormalization")) == ()
    assert model(3.2, activation="tanh") == ()


def test_silent_on_usual_initializers():
    assert found(HIDDEN, HEAD) == ()
    assert found(kernel(HIDDEN, std=0.05), HEAD) == ()


def test_loaded_weights_cannot_be_told():
    trained = kernel(HIDDEN, std=9.0, initializer="GlorotUniform")
    outcome = outcome_of(SLUG, config_record(model=chain(trained, HEAD), y=Y))
    assert "loaded or trained before" in outcome.reason
    running = OptimizerRecord(class_name="Adam", learning_rate=0.001, iterations=100)
    outcome = outcome_of(SLUG, config_record(optimizer=running, y=Y))
    assert "100 steps" in outcome.reason


def test_far_biases_before_training_and_left_to_dead_units_in_a_run():
    (finding,) = found(bias(HIDDEN, -10.0), HEAD)
    assert "start around -10" in finding.message
    assert '"a": {"bias_initializer": "zeros"}' in finding.remedies[0].code
    assert found(HIDDEN, bias(HEAD, 300.0)) == ()
    record = config_record(model=chain(bias(HIDDEN, -10.0), HEAD), y=Y)
    assert findings_of(SLUG, run_record(record)) == ()


def test_a_run_that_learned_makes_it_information():
    record = config_record(model=chain(kernel(HIDDEN, std=10.0), HEAD), y=Y)
    assert findings_of(SLUG, learned(record, 0.95))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(record, 0.85))[0].severity is Severity.WARNING


def test_not_applicable_without_a_model_or_kernels():
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
    assert outcome_of(SLUG, config_record(model=chain(mlp().layers[0]))).status == "not_applicable"
