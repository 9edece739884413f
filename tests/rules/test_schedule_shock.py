import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from tests.records import (
    chain,
    dense,
    findings_of,
    history,
    history_record,
    outcome_of,
    run_record,
    trained,
)

SLUG = "schedule_shock"
RATES = np.r_[np.full(10, 0.01), np.full(10, 1.0)]
JUMPING = np.r_[np.linspace(1.0, 0.3, 10), np.full(10, 0.9)]


def scheduled(loss, rates=RATES):
    record = trained(loss)
    return run_record(record, history=history(loss=loss, learning_rate=rates))


def test_fires_where_the_loss_jumps_with_the_rate():
    (finding,) = findings_of(SLUG, scheduled(JUMPING))
    assert finding.onset.epoch == 10
    assert "from 0.01 to 1, and the loss from" in finding.message
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 0.01"


def test_a_loss_that_is_lost_with_it_is_an_error():
    lost = np.r_[np.linspace(1.0, 0.3, 10), np.full(10, np.nan)]
    (finding,) = findings_of(SLUG, scheduled(lost))
    assert finding.severity is Severity.ERROR
    assert "stops being finite" in finding.message


def begun_at(loss, bias):
    """A run of a model whose hidden biases stand at `bias` before the first step."""
    weights = [dataclasses.replace(w, abs_max=bias) for w in dense("dense", 8, 20).weights]
    hidden = dataclasses.replace(dense("dense", 8, 20), weights=tuple(weights))
    record = trained(np.full(10, 0.6), model=chain(hidden, dense("out", 1, 8)))
    record.steps.loss[0] = loss
    return record


def test_fires_on_a_resumed_run_with_a_fresh_optimizer():
    (finding,) = findings_of(SLUG, begun_at(0.1, bias=0.3))
    assert "its optimizer begins anew" in finding.message
    assert not findings_of(SLUG, begun_at(0.7, bias=0.3))


def test_a_fresh_model_with_a_lucky_first_batch_is_not_resumed():
    assert outcome_of(SLUG, begun_at(0.1, bias=0.0)).status == "not_applicable"


def test_fires_in_a_history_that_holds_the_rate():
    record = history_record(loss=JUMPING, learning_rate=list(RATES))
    assert findings_of(SLUG, record)


@pytest.mark.parametrize(
    "record",
    [
        scheduled(np.linspace(1.0, 0.2, 20)),
        scheduled(JUMPING, RATES[::-1]),
        scheduled(np.linspace(1.0, 0.2, 20), np.linspace(1e-4, 1e-2, 20)),
        scheduled(np.r_[np.linspace(1.0, 0.3, 10), 0.9, 0.5, 0.2, 0.2, 0.2, np.full(5, 0.1)]),
    ],
    ids=["takes it", "the rate falls", "warm-up", "warm restart that heals"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("after", "fires"), [(0.44, False), (0.48, True)])
def test_boundary_of_jump_and_factor(after, fires):
    loss = np.r_[np.full(10, 0.3), np.full(10, after)]
    assert bool(findings_of(SLUG, scheduled(loss))) is fires


def test_boundary_of_the_jump():
    for after, fires in ((0.14, False), (0.17, True)):
        loss = np.r_[np.full(10, 0.05), np.full(10, after)]
        assert bool(findings_of(SLUG, scheduled(loss))) is fires


def test_not_applicable_without_rates_or_to_losses_of_unknown_meaning():
    assert outcome_of(SLUG, history_record(loss=JUMPING)).status == "not_applicable"
    record = scheduled(JUMPING)
    own = dataclasses.replace(record.model, custom_train_step=True)
    assert outcome_of(SLUG, dataclasses.replace(record, model=own)).status == "not_applicable"
