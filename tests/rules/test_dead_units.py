import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import (
    config_record,
    findings_of,
    mlp,
    outcome_of,
    run_record,
    steps,
    trained,
    unit_series,
    with_weights,
)

MODEL = mlp(hidden=((20, "relu"), (20, "relu")))
ALL = {"dense": 1.0, "dense_1": 1.0, "dense_2": 0.0}


def record(dead=ALL, *, end=1.0, model=MODEL, **fields) -> RunRecord:
    found = trained([1.0] * 9 + [end], model=model, **fields)
    return run_record(found, units=unit_series(dead))


def test_fires_on_the_layer_that_cuts_off_the_others():
    (finding,) = findings_of("dead_units", record())
    assert finding.severity is Severity.ERROR
    assert finding.layers == ("dense_1",)
    assert "All 20 units of 'dense_1' (relu)" in finding.message
    assert "from the start" in finding.message
    assert '"dense_1": {"activation": "leaky_relu"' in finding.remedies[0].code


def test_biases_that_begin_far_below_zero_are_set_to_zero():
    model = with_weights(MODEL, "bias", mean=-10.0)
    (finding,) = findings_of("dead_units", record(model=model))
    assert "they begin at -10 on average" in finding.remedies[0].text
    # All layers begin so: curing the dead one alone would leave the others dead.
    for name in ("dense", "dense_1", "dense_2"):
        assert f'"{name}": {{"bias_initializer": "zeros"}}' in finding.remedies[0].code


def test_units_killed_by_a_large_step_get_a_lower_rate():
    died = {"dense": [0.0] + [1.0] * 9, "dense_1": 0.0, "dense_2": 0.0}
    (finding,) = findings_of("dead_units", record(died, ratio=0.9))
    assert finding.onset.epoch == 1
    assert "since epoch 1" in finding.message
    assert "model.optimizer.learning_rate = " in finding.remedies[0].code


def test_units_that_died_of_small_steps_get_a_slope():
    died = {"dense": [0.0] + [1.0] * 9, "dense_1": 0.0, "dense_2": 0.0}
    (finding,) = findings_of("dead_units", record(died, ratio=0.01))
    assert "leaky_relu" in finding.remedies[0].code


def test_steps_too_large_for_a_constant_get_a_far_lower_rate_however_small_they_are():
    died = {"dense": [0.0] + [1.0] * 9, "dense_1": 0.0, "dense_2": 0.0}
    (finding,) = findings_of("dead_units", record(died, ratio=0.01, end=1.05))
    assert "from 0.01 to 0.0001" in finding.remedies[0].text
    assert "leaky_relu" in finding.remedies[1].code


def test_flat_tails_are_normalized():
    model = mlp(hidden=((20, "tanh"), (20, "tanh")))
    (finding,) = findings_of("dead_units", record(model=model))
    assert "BatchNormalization" in finding.remedies[0].code


def test_most_units_dead_is_a_warning_where_nothing_was_learned():
    (finding,) = findings_of("dead_units", record({**ALL, "dense": 0.9, "dense_1": 0.1}))
    assert finding.severity is Severity.WARNING
    assert "90% of the 20 units of 'dense'" in finding.message


def test_a_dead_relu_head_is_named():
    model = mlp(hidden=((20, "relu"), (20, "relu")), activation="relu")
    (finding,) = findings_of("dead_units", record({**ALL, "dense_2": 1.0}, model=model))
    assert finding.layers == ("dense_2",)
    assert '"dense_2": {"activation": "linear"}' in finding.remedies[0].code


@pytest.mark.parametrize(("lit", "fires"), [(0.5, True), (0.001, False)])
def test_a_dead_output_is_named_where_its_targets_vary(lit, fires):
    model = mlp(hidden=((20, "relu"),), units=20, activation="relu")
    dark = np.arange(20) < 5
    random = np.random.default_rng(0)
    y = (random.random((4000, 20)) < np.where(dark, lit, 0.5)).astype(float)
    answers = np.where(dark, 0.0, y)
    learned = trained([1.0] * 9 + [0.2], model=model)
    data = config_record(model=model, y=y, predictions=answers).train
    found = run_record(learned, train=data, units=unit_series({"dense": 0.0, "dense_1": 0.25}))
    findings = findings_of("dead_units", found)
    assert bool(findings) == fires
    if fires:
        assert findings[0].severity is Severity.WARNING
        assert "outputs of 'dense_1' (relu) are 0 for every example" in findings[0].message
        assert '"dense_1": {"activation": "linear"}' in findings[0].remedies[0].code


@pytest.mark.parametrize("share", [0.5, 0.97, 1.0])
def test_silent_where_the_run_learned_with_many_dead_units(share):
    assert not findings_of("dead_units", record({**ALL, "dense_1": share}, end=0.3))


def test_silent_where_the_loss_is_satisfied():
    satisfied = record({"dense": 1.0, "dense_1": 1.0, "dense_2": 1.0}, end=0.0)
    assert outcome_of("dead_units", satisfied).status == "clear"


def test_a_flat_head_that_is_no_relu_is_another_fault():
    flat = outcome_of("dead_units", record({**ALL, "dense_2": 1.0}))
    assert flat.status == "not_applicable"
    assert "head" in flat.reason


def test_kernels_that_begin_at_zero_are_another_fault():
    zeroed = outcome_of("dead_units", record(model=with_weights(MODEL, "kernel", abs_max=0.0)))
    assert zeroed.status == "not_applicable"
    assert "weights 0" in zeroed.reason


def test_units_that_recovered_are_not_dead():
    recovered = {"dense": [1.0] * 9 + [0.1], "dense_1": 0.0, "dense_2": 0.0}
    assert not findings_of("dead_units", record(recovered))


def test_without_a_loss_scale_only_a_layer_that_is_all_dead_counts():
    found = record()
    custom = dataclasses.replace(found.model, custom_train_step=True)
    assert findings_of("dead_units", run_record(found, model=custom))
    most = run_record(found, model=custom, units=unit_series({**ALL, "dense": 0.9, "dense_1": 0}))
    assert not findings_of("dead_units", most)


@pytest.mark.parametrize(("share", "fires"), [(0.55, True), (0.5, False)])
def test_boundary_of_the_share(share, fires):
    found = record({"dense": share, "dense_1": 0.0, "dense_2": 0.0})
    assert bool(findings_of("dead_units", found)) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.91, True), (0.89, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("dead_units", record(end=end))) is fires


def test_not_applicable():
    assert "LossDoctor()" in outcome_of("dead_units", RunRecord(source="history")).reason
    nan = run_record(record(), steps=steps([np.nan] * 160))
    assert "non-finite" in outcome_of("dead_units", nan).reason
