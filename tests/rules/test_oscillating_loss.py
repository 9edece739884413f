import dataclasses

import numpy as np
import pytest

from tests.records import chain, dense, findings_of, history_record, layer, outcome_of, trained

SLUG = "oscillating_loss"


def jumping(height, level=0.5, epochs=20):
    return level + height / 2 * np.tile([1, -1], epochs // 2)


def test_fires_on_large_jumps_and_proposes_a_decaying_rate():
    (finding,) = findings_of(SLUG, trained(jumping(0.4)))
    assert "jumps by 0.4 of a constant prediction's loss" in finding.message
    assert "CosineDecay" in finding.remedies[0].code
    assert "decay_steps=320" in finding.remedies[0].code


def test_fires_in_a_history_against_its_first_loss():
    (finding,) = findings_of(SLUG, history_record(loss=np.r_[1.0, jumping(0.4)]))
    assert "of the first loss" in finding.message
    assert finding.remedies[0].text


@pytest.mark.parametrize(
    "loss",
    [
        np.geomspace(1.0, 0.05, 20),
        jumping(0.05),
        np.r_[jumping(1.0, 1.5, 10), np.full(20, 0.2)],
        np.where(np.arange(40) == 30, 5.0, 0.3),
        0.3 + 0.2 * np.linspace(0, 1, 20),
    ],
    ids=["falling", "noise floor", "wild start", "one spike", "rising"],
)
def test_silent_on_look_alikes(loss):
    assert not findings_of(SLUG, trained(loss))


def test_batches_that_differ_are_no_oscillation():
    record = trained(np.full(20, 0.5))
    record.steps.loss[:] = np.random.default_rng(0).exponential(0.5, 320)
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("height", "fires"), [(0.09, False), (0.11, True)])
def test_boundary_of_the_swing(height, fires):
    assert bool(findings_of(SLUG, trained(jumping(height)))) is fires


def test_not_applicable_to_a_few_epochs():
    assert outcome_of(SLUG, trained([1.0, 0.2, 1.0])).status == "not_applicable"


@pytest.mark.parametrize(("batch_spread", "fires"), [(2.0, False), (0.2, True)])
def test_dropped_units_explain_jumps_of_their_own_size(batch_spread, fires):
    model = chain(dense("a", 16, 20), layer("drop", "Dropout", rate=0.8), dense("head", 1, 16))
    record = trained(jumping(0.4), model=model)
    record = dataclasses.replace(
        record,
        steps=dataclasses.replace(record.steps, epoch_loss_std=np.full(20, batch_spread)),
    )
    assert bool(findings_of(SLUG, record)) is fires
