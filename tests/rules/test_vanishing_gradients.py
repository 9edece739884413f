import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import (
    chain,
    dense,
    findings_of,
    layer,
    learned,
    mlp,
    outcome_of,
    per_layer,
    run_record,
    steps,
    trained,
    variables,
    weighted,
)

SIGMOIDS = mlp(hidden=((25, "sigmoid"),) * 4)
FADING = [1e-7, 1e-5, 1e-4, 1e-2, 1.0]


def record(scales=FADING, *, model=SIGMOIDS, end=1.0, update=1e-7, **fields) -> RunRecord:
    """Four hidden layers that get `scales` times the head's gradient, and move by `update`."""
    kernels = [layer.kernel for layer in model.layers if layer.kernel]
    norms = [s * np.prod(k.shape) ** 0.5 for s, k in zip(scales, kernels)]
    series = variables(
        model,
        gradient_norm=[v for norm in norms for v in (norm, 0.0)],
        update_norm=per_layer(model, [update] * 4 + [1e-3]),
        weight_norm=5.0,
    )
    return run_record(trained([1.0] * 3 + [end], model=model, **fields), variables=series)


def test_fires_and_gives_the_hidden_layers_a_relu():
    (finding,) = findings_of("vanishing_gradients", record())
    assert finding.severity is Severity.ERROR
    assert "'dense' receives 10,000,000 times less gradient" in finding.message
    assert finding.layers == ("dense", "dense_1", "dense_2")
    first, second = finding.remedies[:2]
    assert "slope is at most 0.25" in first.text
    assert first.code.count('"activation": "relu", "kernel_initializer": "he_uniform"') == 4
    assert "BatchNormalization()" in second.code
    assert "dense_4" not in first.code


def test_fires_under_adam_by_the_loss_alone():
    (finding,) = findings_of("vanishing_gradients", record(update=1e-2))
    assert finding.severity is Severity.ERROR
    assert "update_ratio" not in {m.name for m in finding.measurements if m.threshold}


def test_is_a_warning_where_the_later_layers_learned_without_the_first():
    (finding,) = findings_of("vanishing_gradients", record(end=0.4))
    assert finding.severity is Severity.WARNING


def test_without_a_baseline_the_loss_is_measured_against_its_first_value():
    assert findings_of("vanishing_gradients", record(update=1e-2, baseline=None))
    assert not findings_of("vanishing_gradients", record(update=1e-2, end=0.5, baseline=None))


def test_fires_where_the_gradient_underflows_to_zero():
    (finding,) = findings_of("vanishing_gradients", record([0.0, 0.0, 1e-6, 1e-2, 1.0]))
    assert finding.layers == ("dense", "dense_1", "dense_2")


def test_proposes_initialization_where_the_activations_pass_gradients_on():
    model = mlp(hidden=((25, "relu"),) * 4)
    (finding,) = findings_of("vanishing_gradients", record(model=model))
    assert '"dense": {"kernel_initializer": "he_uniform"}' in finding.remedies[0].code
    assert "weights are too small" in finding.remedies[0].text


def test_proposes_a_gated_layer_for_a_recurrent_one():
    recurrent = layer("rnn", "SimpleRNN", activation="tanh")
    model = chain(weighted(recurrent, 1, 16), dense("a", 16, 16), dense("b", 16, 16))
    series = variables(model, gradient_norm=[1e-8, 1, 1, 1, 1])
    found = run_record(trained([1.0] * 4), model=model, variables=series)
    (finding,) = findings_of("vanishing_gradients", found)
    assert "LSTM or GRU in 'rnn'" in finding.remedies[0].text


def test_silent_where_the_whole_model_has_small_gradients():
    assert not findings_of("vanishing_gradients", record([1e-9] * 5, end=0.001, update=1e-9))


def test_silent_where_the_model_learns_and_the_first_layers_move():
    assert not findings_of("vanishing_gradients", record(update=1e-3, end=0.7))


def test_silent_where_a_layer_gets_no_gradient_at_all_behind_a_fed_one():
    assert not findings_of("vanishing_gradients", record([0.0, 0.0, 0.3, 0.5, 1.0]))


def test_silent_where_it_fades_for_half_of_the_run_only():
    found = record()
    norms = np.array(found.variables.gradient_norm)
    norms[32:] = 1.0
    series = dataclasses.replace(found.variables, gradient_norm=norms)
    assert not findings_of("vanishing_gradients", run_record(found, variables=series))


def test_silent_on_sparse_inputs_and_rarely_used_rows_of_an_embedding():
    found = record([1.0] * 5, update=1e-9)
    zeros = np.zeros_like(found.variables.gradient_zero_fraction)
    norms = np.array(found.variables.gradient_norm)
    zeros[:, 0], norms[:, 0] = 0.999999, norms[:, 0] * 1e-3
    series = dataclasses.replace(found.variables, gradient_norm=norms, gradient_zero_fraction=zeros)
    assert not findings_of("vanishing_gradients", run_record(found, variables=series))


@pytest.mark.parametrize(("scale", "fires"), [(0.99e-3, True), (1.01e-3, False)])
def test_boundary_of_the_gradient_ratio(scale, fires):
    found = findings_of("vanishing_gradients", record([scale, 1, 1, 1, 1]))
    assert bool(found) is fires


@pytest.mark.parametrize(("update", "fires"), [(0.99e-5, True), (1.01e-5, False)])
def test_boundary_of_the_update_ratio(update, fires):
    moved = update * (50 + 5e-20) ** 0.5  # kernel and bias: both have norm 5
    found = findings_of("vanishing_gradients", record(update=moved / 2**0.5, end=0.5))
    assert bool(found) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.91, True), (0.89, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("vanishing_gradients", record(update=1e-2, end=end))) is fires


def test_thresholds_can_be_changed():
    assert not findings_of("vanishing_gradients", record(), norm_ratio=1e-8)


def test_not_applicable():
    assert "LossDoctor()" in outcome_of("vanishing_gradients", RunRecord(source="history")).reason
    nan = run_record(record(), steps=steps([np.nan] * 64))
    assert outcome_of("vanishing_gradients", nan).status == "not_applicable"
    assert outcome_of("vanishing_gradients", trained([1.0] * 4)).status == "clear"


def test_a_gated_layer_is_not_told_to_become_one():
    recurrent = layer("rnn", "LSTM", activation="tanh")
    model = chain(weighted(recurrent, 1, 64), dense("a", 16, 16), dense("b", 16, 16))
    series = variables(model, gradient_norm=[1e-8, 1, 1, 1, 1])
    found = run_record(trained([1.0] * 4), model=model, variables=series)
    (finding,) = findings_of("vanishing_gradients", found)
    assert "LSTM" not in finding.remedies[0].text


def forgetful(signal_within=0.02, *, outcome=0.05, cell="SimpleRNN"):
    model = chain(weighted(layer("cell", cell), 1, 8), dense("head", 1, 8))
    probes = {"flat_signal": 0.9, "memory": 21.0, "memory_steps": 100.0}
    flat = variables(model, gradient_norm=1.0, update_norm=1e-3, weight_norm=5.0)
    run = run_record(trained([1.0] * 4, model=model), variables=flat)
    run = dataclasses.replace(run, probes={**probes, "memory_signal": signal_within})
    return learned(run, outcome)


def test_over_time_where_the_answers_do_not_reach_back_to_what_tells():
    (finding,) = findings_of("vanishing_gradients", forgetful())
    assert finding.severity is Severity.ERROR
    assert "last 21 of 100 steps" in finding.message
    assert "explain 2% of the variance of unseen rows, 90% where they see all" in finding.message
    assert "GlobalMaxPooling1D" in finding.remedies[0].code
    assert "LSTM or GRU" in finding.remedies[1].text
    (finding,) = findings_of("vanishing_gradients", forgetful(cell="LSTM"))
    assert "LSTM or GRU" not in finding.remedies[1].text


def test_a_short_memory_is_enough_where_the_last_steps_tell_or_the_run_learned():
    assert len(findings_of("vanishing_gradients", forgetful(0.64))) == 1
    assert findings_of("vanishing_gradients", forgetful(0.66)) == ()
    assert findings_of("vanishing_gradients", forgetful(outcome=0.66)) == ()
