import dataclasses

import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import (
    findings_of,
    mlp,
    outcome_of,
    per_layer,
    run_record,
    trained,
    unit_series,
    variables,
    with_weights,
)

MODEL = mlp(hidden=((25, "relu"), (25, "relu")))
ZEROED = with_weights(MODEL, "kernel", std=0.0, abs_max=0.0)


def record(moves=(0, 0, 1), gradients=None, *, model=MODEL, end=1.0, **fields) -> RunRecord:
    """A run in which a layer moves, and has a gradient, where its entry is 1."""
    found = trained([1.0] * 3 + [end], model=model, **fields)
    gradients = moves if gradients is None else gradients
    series = variables(
        model,
        update_norm=per_layer(model, [1e-3 * move for move in moves]),
        gradient_norm=per_layer(model, gradients),
    )
    return run_record(found, variables=series)


def disconnected(found: RunRecord, layers: int) -> RunRecord:
    connected = (False, False) * layers + (True, True) * (3 - layers)
    return run_record(found, variables=dataclasses.replace(found.variables, connected=connected))


def test_fires_on_zero_kernels_and_draws_them_anew():
    (finding,) = findings_of("stalled_updates", record(model=ZEROED))
    assert finding.severity is Severity.ERROR
    assert finding.layers == ("dense", "dense_1")
    assert "begin at 0" in finding.message
    code = finding.remedies[0].code
    assert '"dense": {"kernel_initializer": "he_uniform"}' in code
    assert '"dense_2": {"kernel_initializer": "glorot_uniform"}' in code


def test_fires_on_layers_the_loss_does_not_depend_on():
    (finding,) = findings_of("stalled_updates", disconnected(record(), 2))
    assert finding.severity is Severity.ERROR
    assert finding.layers == ("dense", "dense_1")
    assert "stop_gradient" in finding.remedies[0].text


def test_a_side_branch_at_rest_is_worth_knowing_only():
    model = mlp(hidden=((2, "relu"), (25, "relu")))
    few = disconnected(record((0, 1, 1), model=model, end=0.2), 1)
    (finding,) = findings_of("stalled_updates", few)
    assert finding.severity is Severity.INFO


def test_fires_where_a_custom_loss_is_flat():
    found = record((0, 0, 0))
    custom = LossRecord(name="rounded", custom=True, baseline=1.0, floor=0.0)
    (finding,) = findings_of("stalled_updates", run_record(found, losses=(custom,)))
    assert "ever received a gradient other than 0" in finding.message
    assert "without rounding" in finding.remedies[0].text


def test_fires_on_gradients_whose_updates_are_lost():
    (finding,) = findings_of("stalled_updates", record((0, 1, 1), (1, 1, 1)))
    assert finding.layers == ("dense",)
    assert "although gradients arrive" in finding.message


def test_silent_on_dead_layers_which_another_rule_names():
    dead = unit_series({"dense": 1.0, "dense_1": 1.0, "dense_2": 0.0})
    assert not findings_of("stalled_updates", run_record(record(), units=dead))


def test_fires_where_something_else_cuts_them_off():
    alive = unit_series({"dense": 0.9, "dense_1": 0.0, "dense_2": 0.0})
    (finding,) = findings_of("stalled_updates", run_record(record(), units=alive))
    assert finding.layers == ("dense", "dense_1")
    assert "lets nothing through" in finding.message


def test_silent_on_healthy_runs_and_on_zero_kernels_of_the_head_alone():
    assert not findings_of("stalled_updates", record((1, 1, 1)))
    assert not findings_of("stalled_updates", record((1, 1, 1), model=ZEROED))


def test_silent_where_a_satisfied_loss_has_no_gradient():
    assert not findings_of("stalled_updates", record((0, 0, 0), end=0.0))


def test_silent_on_frozen_layers():
    trainable = with_weights(MODEL, "kernel", trainable=False)
    trainable = with_weights(trainable, "bias", trainable=False)
    layers = (*trainable.layers[:-1], MODEL.layers[-1])
    model = dataclasses.replace(MODEL, layers=layers)
    found = run_record(trained([1.0] * 4), model=model, variables=variables(model))
    assert not findings_of("stalled_updates", found)


def test_a_learning_rate_of_zero_is_another_fault():
    outcome = outcome_of("stalled_updates", record((0, 0, 0), (1, 1, 1), learning_rate=0.0))
    assert outcome.status == "not_applicable"
    assert "learning rate is 0" in outcome.reason


def test_a_custom_train_step_is_not_judged():
    found = record()
    model = dataclasses.replace(found.model, custom_train_step=True)
    assert "train_step" in outcome_of("stalled_updates", run_record(found, model=model)).reason


@pytest.mark.parametrize(("width", "severity"), [(40, Severity.WARNING), (42, Severity.ERROR)])
def test_boundary_of_the_share_of_parameters(width, severity):
    model = mlp(hidden=((width, "relu"), (20, "relu")))
    (finding,) = findings_of("stalled_updates", record((0, 1, 1), (1, 1, 1), model=model))
    # The first layer holds 21 w parameters, the others 20 w + 41.
    assert finding.severity is severity


@pytest.mark.parametrize(("end", "fires"), [(0.11, True), (0.09, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("stalled_updates", record((0, 0, 0), end=end))) is fires


def test_not_applicable():
    assert "LossDoctor()" in outcome_of("stalled_updates", RunRecord(source="history")).reason


def test_a_loss_without_any_gradient_which_keras_refuses():
    none = variables(MODEL, count=0, connected=(False,) * len(variables(MODEL).paths))
    (finding,) = findings_of("stalled_updates", run_record(trained([1.0]), variables=none))
    assert "so Keras raises at fit" in finding.message
    assert finding.severity is Severity.ERROR
    assert "tf.GradientTape" in finding.remedies[0].text


def test_not_applicable_to_a_model_without_trainable_weights():
    frozen = dataclasses.replace(
        MODEL, layers=tuple(dataclasses.replace(layer, weights=()) for layer in MODEL.layers)
    )
    record = run_record(trained([1.0] * 10), variables=variables(frozen))
    assert outcome_of("stalled_updates", record).status == "not_applicable"
