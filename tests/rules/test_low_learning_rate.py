import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import OptimizerRecord
from tests.records import findings_of, history_record, outcome_of, run_record, trained

SLUG = "low_learning_rate"
CREEPING = np.linspace(1.2, 0.8, 40)
ADAM = OptimizerRecord(class_name="Adam", learning_rate=1e-6, beta_1=0.9)


def test_fires_and_proposes_a_rate_whose_updates_are_a_sound_share():
    (finding,) = findings_of(SLUG, trained(CREEPING, ratio=1e-5, learning_rate=1e-5))
    assert "only 1.0e-05 of their size" in finding.message
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 0.02"
    assert "2,000 times as many" in finding.remedies[0].text
    assert "Adam" in finding.remedies[1].code


@pytest.mark.parametrize(("rate", "fires"), [(0.01, True), (10.0, False)])
def test_steps_to_and_fro_do_not_count_as_way_made(rate, fires):
    hardly_falling = np.linspace(1.0, 0.98, 80)
    found = findings_of(SLUG, trained(hardly_falling, ratio=2e-3, learning_rate=rate))
    assert [m.name for f in found for m in f.measurements][:1] == ["travel"] * fires


def test_adam_is_not_offered_to_adam():
    record = trained(CREEPING, ratio=1e-5, learning_rate=1e-6, optimizer=ADAM)
    (finding,) = findings_of(SLUG, record)
    assert len(finding.remedies) == 1
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 0.001"


def test_adadelta_is_given_the_rate_it_was_made_for():
    adadelta = OptimizerRecord(class_name="Adadelta", learning_rate=0.001)
    record = trained(CREEPING, ratio=1e-5, learning_rate=0.001, optimizer=adadelta)
    (finding,) = findings_of(SLUG, record)
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 1.0"


def test_fires_on_a_loss_too_slow_to_be_seen_falling():
    flat = 1.1 + 0.001 * np.sin(np.arange(40))
    assert findings_of(SLUG, trained(flat, ratio=1e-6))


@pytest.mark.parametrize(
    "record",
    [
        trained(np.geomspace(1.0, 0.05, 40), ratio=1e-5),
        trained(0.55 + 0.01 * np.sin(np.arange(40)), ratio=5e-5),
        trained(CREEPING, ratio=np.r_[np.full(320, 1e-2), np.full(320, 1e-6)]),
        trained(np.full(40, 1.0), ratio=np.r_[[2.0] * 5, np.zeros(635)]),
        trained(CREEPING, ratio=1e-3),
    ],
    ids=[
        "fine-tuning that works",
        "converged at the noise of the task",
        "schedule that has decayed",
        "dead after huge steps",
        "sound steps, too few of them",
    ],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("ratio", "fires"), [(2.9e-4, True), (3.1e-4, False)])
def test_boundary_of_the_update_ratio(ratio, fires):
    assert bool(findings_of(SLUG, trained(CREEPING, ratio=ratio))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.26, False), (0.3, True)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of(SLUG, trained(np.linspace(1, end, 40), ratio=1e-5))) is fires


@pytest.mark.parametrize(("drop", "fires"), [(0.02, False), (0.08, True)])
def test_boundary_of_the_gain(drop, fires):
    loss = np.linspace(0.7 + drop, 0.7, 40)
    assert bool(findings_of(SLUG, trained(loss, ratio=1e-4))) is fires


def full_batch(curvature, ratio=1e-3, epochs=1200):
    record = trained(np.linspace(1.0, 0.6, epochs), ratio=ratio, steps_per_epoch=1)
    series = dataclasses.replace(record.variables, curvature=np.full(epochs, curvature))
    return run_record(record, variables=series)


@pytest.mark.parametrize(("headroom", "fires"), [(45, False), (55, True)])
def test_boundary_of_the_headroom(headroom, fires):
    # At a rate of 0.01 plain SGD is stable up to a curvature of 200.
    assert bool(findings_of(SLUG, full_batch(200 / headroom))) is fires


@pytest.mark.parametrize(("travel", "fires"), [(0.9, True), (1.1, False)])
def test_boundary_of_the_travel(travel, fires):
    record = trained(np.full(100, 1.0), ratio=travel / 1600)
    assert bool(findings_of(SLUG, record)) is fires


@pytest.mark.parametrize(("leverage", "fires"), [(0.009, False), (0.011, True)])
def test_boundary_of_the_leverage(leverage, fires):
    record = trained(CREEPING, ratio=1e-5)
    series = record.variables
    gradient = leverage / series.weight_norm
    series = dataclasses.replace(series, gradient_norm=gradient)
    assert bool(findings_of(SLUG, run_record(record, variables=series))) is fires


def test_not_applicable_without_updates_or_with_a_rate_of_zero():
    assert outcome_of(SLUG, history_record(loss=CREEPING)).status == "not_applicable"
    assert outcome_of(SLUG, trained(CREEPING, learning_rate=0.0)).status == "not_applicable"
    assert outcome_of(SLUG, trained([1.0, np.nan], ratio=1e-6)).status == "not_applicable"
