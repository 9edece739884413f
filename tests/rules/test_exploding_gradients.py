import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import chain, dense, findings_of, layer, outcome_of, run_record, steps, trained
from tests.records import weighted as with_weight


def record(norms, *, end=1.0, ratio=1e-3, loss=None, **fields) -> RunRecord:
    """A run of 64 steps with these global gradient norms, whose loss goes from 1 to `end`."""
    norms = np.broadcast_to(np.asarray(norms, dtype=float), 64)
    found = trained([1.0] * 3 + [end], ratio=ratio, **fields)
    loss = np.repeat([1.0, 1.0, 1.0, end], 16) if loss is None else loss
    finite = np.isfinite(norms)
    return run_record(found, steps=steps(loss, gradient_norm=norms, gradients_finite=finite))


def blown_up(*before: float) -> RunRecord:
    norms = np.full(64, np.nan)
    norms[: len(before)] = before
    loss = np.where(np.isfinite(norms), norms, np.nan)
    return record(norms, loss=loss, end=np.nan, ratio=5.0)


GROWN = np.concatenate([np.ones(32), np.full(32, 1e4)])


def test_fires_on_growth_that_stays():
    (finding,) = findings_of("exploding_gradients", record(GROWN, ratio=0.5))
    assert finding.severity is Severity.ERROR
    assert "grows from 1 in the first steps to 1e+04 (1e+04 times)" in finding.message
    assert (finding.onset.epoch, finding.onset.step) == (2, 32)
    lower, clip = finding.remedies[:2]
    assert "model.optimizer.learning_rate = " in lower.code
    assert "global_clipnorm=1" in clip.code


def test_fires_on_the_last_steps_before_the_first_nan():
    (finding,) = findings_of("exploding_gradients", blown_up(1.0, 50.0, 1e6))
    assert "the last finite one is step 2" in finding.message


def test_fires_on_a_first_gradient_that_dwarfs_the_weights():
    (finding,) = findings_of("exploding_gradients", blown_up(1e6))
    assert "at the first step" in finding.message
    assert {m.name for m in finding.measurements} >= {"first ratio", "update ratio"}


def test_clips_first_where_a_recurrent_layer_multiplies_the_same_weights():
    recurrent = with_weight(layer("rnn", "SimpleRNN", activation="tanh"), 1, 16)
    model = chain(recurrent, dense("head", 1, 16))
    (finding,) = findings_of("exploding_gradients", record(3 * GROWN, model=model))
    assert "'rnn' multiply by the same weights" in finding.remedies[0].text
    assert "global_clipnorm=3" in finding.remedies[0].code


def test_clips_at_a_usual_norm_where_even_the_first_steps_were_huge():
    recurrent = with_weight(layer("rnn", "SimpleRNN", activation="tanh"), 1, 16)
    model = chain(recurrent, dense("head", 1, 16))
    (finding,) = findings_of("exploding_gradients", record(1e9 * GROWN, model=model))
    assert "global_clipnorm=1" in finding.remedies[0].code
    assert "a usual value" in finding.remedies[0].text


def test_silent_on_single_spikes():
    norms = np.ones(64)
    norms[[20, 40, 63]] = 1e6
    assert not findings_of("exploding_gradients", record(norms))


def test_silent_where_the_run_learned_all_the_same():
    assert not findings_of("exploding_gradients", record(GROWN, end=0.1))


def test_silent_on_fluctuation_around_a_converged_end():
    norms = np.concatenate([np.ones(16), np.full(24, 1e-6), np.full(24, 1e-3)])
    assert not findings_of("exploding_gradients", record(norms, end=1e-4))


def test_silent_on_growth_out_of_a_plateau():
    assert not findings_of("exploding_gradients", record(1e-5 * GROWN))


def test_silent_on_a_large_first_gradient_that_adam_or_clipping_tames():
    assert not findings_of("exploding_gradients", record(1e6, ratio=1e-3))


def test_silent_on_nan_that_came_out_of_calm_steps():
    assert not findings_of("exploding_gradients", blown_up(1.0, 1.1, 0.9, 1.2))


@pytest.mark.parametrize(("factor", "fires"), [(101, True), (99, False)])
def test_boundary_of_growth(factor, fires):
    norms = np.concatenate([np.ones(32), np.full(32, factor)])
    assert bool(findings_of("exploding_gradients", record(norms))) is fires


@pytest.mark.parametrize(("ratio", "fires"), [(1.01e3, True), (0.99e3, False)])
def test_boundary_of_the_first_ratio(ratio, fires):
    weights = np.sqrt(20 * 25 * 2 / 45 + 25 * 2 / 26)
    assert bool(findings_of("exploding_gradients", blown_up(ratio * weights))) is fires


@pytest.mark.parametrize(("ratio", "fires"), [(0.11, True), (0.09, False)])
def test_boundary_of_the_update_ratio(ratio, fires):
    assert bool(findings_of("exploding_gradients", record(1e6, ratio=ratio))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.91, True), (0.89, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("exploding_gradients", record(GROWN, end=end))) is fires


def test_not_applicable():
    history = RunRecord(source="history")
    assert outcome_of("exploding_gradients", history).status == "not_applicable"
    at_once = blown_up()
    assert "finite" in outcome_of("exploding_gradients", at_once).reason
    unknown = dataclasses.replace(record(GROWN), variables=None)
    assert findings_of("exploding_gradients", unknown)
