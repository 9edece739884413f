import dataclasses

import numpy as np
import pytest

from tests.records import findings_of, history_record, outcome_of, run_record, trained

SLUG = "diverging_loss"
FALL_AND_RISE = np.r_[np.linspace(1.0, 0.5, 10), np.linspace(0.5, 2.5, 30)]


def test_fires_on_a_persistent_rise_above_the_baseline():
    (finding,) = findings_of(SLUG, trained(FALL_AND_RISE))
    assert "Since epoch 9 the training loss has risen" in finding.message
    assert finding.onset.epoch in (8, 9)
    assert "learning_rate" in finding.remedies[0].code


def test_fires_on_an_explosion_inside_the_first_epoch():
    record = trained([np.nan], steps_per_epoch=8)
    record.steps.loss[:6] = 4.0 ** np.arange(6)
    (finding,) = findings_of(SLUG, record)
    assert "grew to 256 times" in finding.message
    assert "before it stopped being finite" in finding.message


def test_fires_in_a_history():
    assert findings_of(SLUG, history_record(loss=FALL_AND_RISE))
    assert findings_of(SLUG, history_record(loss=3.0 ** np.arange(9)))


@pytest.mark.parametrize(
    "record",
    [
        trained(np.geomspace(1.0, 0.05, 30)),
        trained(np.r_[np.linspace(1.0, 0.3, 10), np.linspace(0.3, 0.9, 30)]),
        trained(np.where(np.arange(40) == 30, 40.0, np.geomspace(1.0, 0.1, 40))),
        trained(np.r_[np.linspace(0.5, 3.0, 5), np.linspace(3.0, 0.4, 35)]),
        trained(0.9 + 0.3 * np.sin(np.arange(40) * 2.5)),
        trained(np.linspace(12.0, 1.2, 30)),
    ],
    ids=["healthy", "still of use", "spike", "warm-up hump", "oscillating", "poor start"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


def test_a_ramped_penalty_is_no_rise():
    record = trained(FALL_AND_RISE + 0.0)
    ramp = dataclasses.replace(record.history, penalty=np.maximum(FALL_AND_RISE - 0.5, 0.0))
    steps = dataclasses.replace(record.steps, loss=np.ones(640))
    assert not findings_of(SLUG, run_record(record, history=ramp, steps=steps))
    hidden = dataclasses.replace(record, model=dataclasses.replace(record.model, added_losses=1))
    assert "penalt" in outcome_of(SLUG, hidden).reason


@pytest.mark.parametrize("change", ["custom_train_step", "custom_compute_loss"])
def test_abstains_where_the_loss_has_a_meaning_of_its_own(change):
    record = trained(FALL_AND_RISE)
    record = dataclasses.replace(record, model=dataclasses.replace(record.model, **{change: True}))
    assert "what its loss means is unknown" in outcome_of(SLUG, record).reason


def test_abstains_on_a_negative_history():
    outcome = outcome_of(SLUG, history_record(loss=-1.0 / FALL_AND_RISE))
    assert outcome.status == "not_applicable"


@pytest.mark.parametrize(("level", "fires"), [(1.4, False), (1.6, True)])
def test_boundary_of_the_rise(level, fires):
    loss = np.r_[np.full(10, 1.0), np.linspace(1.0, level, 100), np.full(20, level)]
    assert bool(findings_of(SLUG, trained(loss, baseline=1.0))) is fires


@pytest.mark.parametrize(("factor", "fires"), [(9.0, False), (11.0, True)])
def test_boundary_of_the_explosion(factor, fires):
    record = trained([1.0, np.nan])
    record.steps.loss[8:] = factor
    assert bool(findings_of(SLUG, record)) is fires
