import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from tests.records import findings_of, history_record, outcome_of, trained

SLUG = "undertrained"
FALLING = np.linspace(1.2, 0.5, 20)


def test_fires_on_a_loss_cut_off_on_its_way_down():
    (finding,) = findings_of(SLUG, trained(FALLING, val_loss=FALLING))
    assert "after 20 epochs" in finding.message
    assert finding.remedies[0].code == "epochs = 125"


def test_fires_on_a_run_of_two_epochs_by_its_steps():
    record = trained([1.2, 0.6], steps_per_epoch=100)
    record.steps.loss[:] = np.linspace(1.4, 0.5, 200)
    (finding,) = findings_of(SLUG, record)
    assert "after 2 epochs" in finding.message


def test_fires_after_too_few_steps_to_have_learned_anything():
    (finding,) = findings_of(SLUG, trained([1.01, 1.0]))
    assert "after 32 steps" in finding.message
    assert finding.remedies[0].code == "epochs = 125"


@pytest.mark.parametrize(("steps", "fires"), [(7, True), (40, False)])
def test_a_few_steps_are_too_few_however_large(steps, fires):
    assert bool(findings_of(SLUG, trained([0.8], steps_per_epoch=steps, ratio=0.3))) is fires


def test_a_higher_rate_comes_first_where_more_epochs_would_not_do_either():
    slow = trained(np.full(500, 1.0), steps_per_epoch=1, ratio=1e-4, learning_rate=1e-3)
    (finding,) = findings_of(SLUG, slow)
    assert "learning_rate" in finding.remedies[0].code
    assert finding.remedies[1].code == "epochs = 2500"


def test_a_straight_line_below_the_floor_says_that_most_of_the_rest_will_go():
    record = trained([1.1, 0.27], steps_per_epoch=100, error_rate=0.1)
    record.steps.loss[:] = np.linspace(1.3, 0.16, 200)
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.INFO
    assert finding.measurements[0].value == pytest.approx(0.27, abs=0.05)


def test_a_loss_that_rises_from_next_to_nothing_is_no_matter_of_epochs():
    assert findings_of(SLUG, trained(np.linspace(1e-6, 0.01, 20))) == ()
    assert outcome_of(SLUG, trained([1.0] * 10 + [1e-9] * 10)).status == "clear"


def test_a_run_that_has_learned_most_of_its_task_is_worth_knowing():
    falling = np.linspace(1.2, 0.3, 20)
    (finding,) = findings_of(SLUG, trained(falling, error_rate=0.1))
    assert finding.severity is Severity.INFO
    (finding,) = findings_of(SLUG, trained(falling, error_rate=0.2))
    assert finding.severity is Severity.WARNING


def test_under_weights_the_errors_do_not_say_what_was_learned():
    run = trained(np.linspace(1.2, 0.3, 20), error_rate=0.5)
    for weighted, severity in ((True, Severity.INFO), (False, Severity.WARNING)):
        fit = dataclasses.replace(run.fit, class_weight=weighted)
        (finding,) = findings_of(SLUG, dataclasses.replace(run, fit=fit))
        assert finding.severity is severity


def test_a_loss_that_has_hardly_begun_to_fall_need_not_fall_as_fast():
    (finding,) = findings_of(SLUG, trained(np.linspace(0.9, 0.8, 20)))
    assert finding.measurements[0].name == "early gain"
    assert findings_of(SLUG, trained(np.linspace(0.8, 0.7, 20))) == ()


def test_a_loss_that_is_nearly_down_is_worth_knowing_whatever_the_decisions_are():
    for end, severity in ((0.2, Severity.INFO), (0.3, Severity.WARNING)):
        falling = np.linspace(1.2, end, 20)
        (finding,) = findings_of(SLUG, trained(falling, error_rate=0.2))
        assert finding.severity is severity


def test_of_a_run_too_short_for_a_trend_half_the_way_is_asked():
    assert len(findings_of(SLUG, trained([0.8], steps_per_epoch=12))) == 1
    assert findings_of(SLUG, trained([0.45], steps_per_epoch=12)) == ()
    assert findings_of(SLUG, trained([0.8], steps_per_epoch=16)) == ()


def test_weights_that_hardly_moved_have_not_found_what_simple_models_find():
    def run(**fields):
        record = trained(np.linspace(0.45, 0.4, 8), error_rate=0.3, **fields)
        return dataclasses.replace(record, probes={"signal": 0.9})

    (finding,) = findings_of(SLUG, run(ratio=5e-4))
    assert "after 128 steps, with the loss still at 0.4" in finding.message
    assert findings_of(SLUG, run(ratio=2e-3)) == ()
    assert findings_of(SLUG, dataclasses.replace(run(ratio=5e-4), probes={"signal": 0.6})) == ()


@pytest.mark.parametrize(
    "record",
    [
        trained(np.geomspace(1.0, 0.01, 100)),
        trained(FALLING, error_rate=0.02),
        trained(FALLING, val_loss=np.r_[np.linspace(1.2, 0.8, 10), np.linspace(0.8, 1.4, 10)]),
        trained(0.5 + 0.01 * np.sin(np.arange(30))),
        trained([1.01, 1.0], ratio=3.0),
    ],
    ids=["converged", "no errors left", "overfitting", "flat", "huge steps"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("drop", "fires"), [(0.14, False), (0.18, True)])
def test_boundary_of_the_gain(drop, fires):
    # At this slope half as many epochs again gain half of what the whole run gained.
    loss = np.linspace(0.45 + drop, 0.45, 200)
    assert bool(findings_of(SLUG, trained(loss))) is fires


@pytest.mark.parametrize(("travel", "fires"), [(0.9, True), (1.1, False)])
def test_boundary_of_the_travel(travel, fires):
    assert bool(findings_of(SLUG, trained([1.0, 1.0], ratio=travel / 32))) is fires


def test_many_small_steps_are_no_question_of_budget():
    assert not findings_of(SLUG, trained(np.full(100, 1.0), ratio=1e-4))


def test_history_alone_is_judged_against_its_first_loss():
    assert findings_of(SLUG, history_record(loss=FALLING))
    assert not findings_of(SLUG, history_record(loss=np.geomspace(1.0, 0.01, 100)))


def test_not_applicable_where_early_stopping_decides_or_the_loss_is_not_finite():
    outcome = outcome_of(SLUG, trained(FALLING, callbacks=["EarlyStopping"]))
    assert "EarlyStopping" in outcome.reason
    assert outcome_of(SLUG, trained([1.0, 0.5, np.nan])).status == "not_applicable"
