import math

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import findings_of, mlp, outcome_of, run_record, steps, trained, variables

GLOROT = math.sqrt(20 * 25 * 2 / 45)


def record(growth, *, end=1.0, loss=None, **fields) -> RunRecord:
    """A run whose first kernel has `growth` times its initial norm at each step."""
    norms = np.ones((len(growth), 4))
    norms[:, 0] = GLOROT * np.asarray(growth)
    series = variables(mlp(), count=len(growth), weight_norm=norms, update_norm=0.5)
    found = run_record(trained([1.0] * 3 + [end]), variables=series, **fields)
    return found if loss is None else run_record(found, steps=steps(loss))


GROWING = np.linspace(1, 40, 64)


def test_fires_on_steady_growth_that_gains_nothing():
    (finding,) = findings_of("exploding_weights", record(GROWING))
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("dense",)
    assert "grew to 40 times its initial norm" in finding.message
    assert "model.optimizer.learning_rate = " in finding.remedies[0].code
    assert '"kernel_constraint": "max_norm"' in finding.remedies[-1].code


def blown_up(steps):
    lost = [np.nan] * (64 - steps)
    loss, growth = [*np.geomspace(1, 1e9, steps), *lost], [*np.geomspace(1, 1e5, steps), *lost]
    return record(growth, loss=loss, end=np.nan)


def test_is_an_error_where_it_ended_in_nan():
    (finding,) = findings_of("exploding_weights", blown_up(10))
    assert finding.severity is Severity.ERROR
    assert "stopped being finite" in finding.message


def test_a_run_that_blew_up_at_once_grew_nothing():
    outcome = outcome_of("exploding_weights", blown_up(9))
    assert outcome.status == "not_applicable"
    assert "after 9 recorded steps" in outcome.reason


def test_silent_where_the_run_learns():
    assert not findings_of("exploding_weights", record(GROWING, end=0.3))


def test_silent_on_logarithmic_growth_and_growth_at_rest():
    assert not findings_of("exploding_weights", record(10 * np.log(np.arange(64) + 3)))
    assert not findings_of("exploding_weights", record([1.0] * 10 + [300.0] * 54))


@pytest.mark.parametrize(("growth", "fires"), [(10.2, True), (9.8, False)])
def test_boundary_of_growth(growth, fires):
    assert bool(findings_of("exploding_weights", record(np.linspace(1, growth, 64)))) is fires


@pytest.mark.parametrize(("recent", "fires"), [(1.52, True), (1.48, False)])
def test_boundary_of_recent_growth(recent, fires):
    growth = np.concatenate([np.linspace(1, 20, 32), np.linspace(20, 20 * recent, 32)])
    assert bool(findings_of("exploding_weights", record(growth))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.91, True), (0.89, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("exploding_weights", record(GROWING, end=end))) is fires


def test_not_applicable():
    assert "LossDoctor()" in outcome_of("exploding_weights", RunRecord(source="history")).reason
