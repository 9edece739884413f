import dataclasses

import keras
import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import CallbackRecord, NonFiniteOrigin, OptimizerRecord
from tests.records import (
    findings_of,
    history_record,
    outcome_of,
    run_record,
    trained,
    unit_series,
)

SLUG = "high_learning_rate"
FALLING = np.geomspace(1.2, 0.05, 20)
STUCK = np.full(20, 1.01)


def spike(height, count=320, at=3):
    ratio = np.full(count, 1e-3)
    ratio[at] = height
    return ratio


def test_fires_when_huge_first_updates_end_at_the_baseline():
    (finding,) = findings_of(SLUG, trained(STUCK, ratio=spike(5.0), learning_rate=1.0))
    assert finding.severity is Severity.ERROR
    assert finding.onset.step == 3
    assert "reach 5 times the weights they change" in finding.message
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 0.1"
    assert "global_clipnorm" in finding.remedies[1].code


def test_the_proposed_rate_makes_the_first_update_a_sound_share_of_the_weights():
    record = trained(STUCK, ratio=3.0, learning_rate=1.0)
    text = findings_of(SLUG, record)[0].remedies[0].text
    assert "from 1 to 0.01: the first update then changes the weights by 3 %" in text
    momentum = OptimizerRecord(class_name="SGD", learning_rate=1.0, momentum=0.9)
    record = trained(STUCK, ratio=3.0, learning_rate=1.0, optimizer=momentum)
    assert findings_of(SLUG, record)[0].remedies[0].code.endswith("= 0.002")


def raised(first, ratio):
    record = trained(STUCK, ratio=ratio, learning_rate=1.0)
    rates = np.geomspace(first, 1.0, len(record.steps.learning_rate))
    steps = dataclasses.replace(record.steps, learning_rate=rates)
    scheduler = CallbackRecord(class_name="LearningRateScheduler")
    fit = dataclasses.replace(record.fit, callbacks=(scheduler,))
    return dataclasses.replace(record, steps=steps, fit=fit)


def test_what_raised_the_rate_is_taken_out_unless_it_warmed_up():
    growing = np.geomspace(0.01, 3.0, 320)
    remedy = findings_of(SLUG, raised(0.001, growing))[0].remedies[0]
    assert "began at 0.001, and a LearningRateScheduler brought it to 1" in remedy.text
    kept = keras.callbacks.ModelCheckpoint("x.keras")
    names = {"keras": keras, "callbacks": [keras.callbacks.LearningRateScheduler(abs), kept]}
    exec(remedy.code, names)
    assert names["callbacks"] == [kept]
    warm_up = findings_of(SLUG, raised(1e-6, np.geomspace(1e-5, 3.0, 320)))[0].remedies[0]
    assert warm_up.text.startswith("Lower the learning rate from 1 to")
    assert "would set its own again" in warm_up.text
    assert "keras.callbacks.LearningRateScheduler" in warm_up.code


def test_a_schedule_is_replaced_by_compiling_anew():
    scheduled = OptimizerRecord(class_name="SGD", learning_rate=1.0, schedule="CosineDecay")
    record = trained(STUCK, ratio=3.0, learning_rate=1.0, optimizer=scheduled)
    assert findings_of(SLUG, record)[0].remedies[0].code.startswith("model.compile(")


def test_fires_on_a_loss_that_stopped_being_finite_after_huge_updates():
    record = trained([1.0, 50.0, np.nan, np.nan], ratio=spike(3.0, 64))
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.ERROR
    assert "stopped being finite" in finding.message


def test_silent_on_a_non_finite_loss_after_small_updates_or_from_the_data():
    assert not findings_of(SLUG, trained([1.0, np.nan], ratio=1e-3))
    origin = NonFiniteOrigin(epoch=1, step=16, source="inputs")
    poisoned = run_record(trained([1.0, np.nan], ratio=spike(0.5, 32)), non_finite=origin)
    assert not findings_of(SLUG, poisoned)


def test_smaller_steps_count_where_a_living_layer_died():
    hidden = trained(STUCK).model.layers[1].name
    alive, dead = [0.1] + [1.0] * 9, [1.0] * 10
    for peak, units, fires in (
        (0.07, alive, True),
        (0.04, alive, False),
        (0.07, dead, False),
        (0.07, [0.1] * 10, False),
    ):
        record = run_record(trained(STUCK, ratio=spike(peak)), units=unit_series({hidden: units}))
        findings = findings_of(SLUG, record)
        assert bool(findings) is fires
        if fires:
            assert findings[0].measurements[0].threshold == 0.05


def test_fires_on_a_run_that_never_settles():
    jumping = 0.5 + 0.01 * np.tile([1, -1], 10)
    (finding,) = findings_of(SLUG, trained(jumping, ratio=0.15))
    assert finding.severity is Severity.WARNING
    assert "still 0.15" in finding.message


def test_fires_on_large_jumps_between_epochs():
    jumping = 0.5 + 0.3 * np.tile([1, -1], 10)
    (finding,) = findings_of(SLUG, trained(jumping, ratio=0.01))
    assert "jumps by 0.6 of a constant prediction's loss" in finding.message
    assert not findings_of(SLUG, trained(jumping, ratio=1e-4)), "updates too small to be the cause"


@pytest.mark.parametrize(("peak", "fires"), [(0.3, True), (0.15, False)])
def test_smaller_jumps_count_after_steps_that_were_too_large(peak, fires):
    restless = 0.4 + 0.025 * np.tile([1, -1], 10)
    found = findings_of(SLUG, trained(restless, ratio=2 * spike(peak / 2)))
    assert bool(found) == fires
    if fires:
        assert "jumps by 0.05" in found[0].message


def test_a_run_that_had_to_come_down_from_a_huge_loss_began_too_fast():
    falling = np.geomspace(1.2, 0.3, 20)
    record = trained(falling, ratio=spike(2.0))
    assert findings_of(SLUG, record) == ()
    record.steps.loss[4] = 500.0
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.WARNING
    assert "the loss rose to 417 times what it began with" in finding.message
    gentle = trained(falling, ratio=spike(0.9))
    gentle.steps.loss[4] = 500.0
    assert findings_of(SLUG, gentle) == (), "weights that were not replaced"


@pytest.mark.parametrize(
    "record",
    [
        trained(FALLING),
        trained(FALLING, ratio=spike(2.0)),
        trained(FALLING, ratio=np.r_[np.full(20, 0.5), np.full(300, 0.01)]),
        trained(np.full(20, 0.05) + 0.04 * np.tile([1, -1], 10), ratio=0.2),
        trained(np.where(np.arange(20) == 12, 3.0, FALLING), ratio=spike(0.6, at=200)),
        trained(np.full(20, 0.7), ratio=0.02),
    ],
    ids=[
        "healthy",
        "a high rate that works",
        "wild start",
        "at the noise floor",
        "spike that heals",
        "weak signal, sound steps",
    ],
)
def test_silent_on_runs_with_other_or_no_troubles(record):
    assert not findings_of(SLUG, record)


def test_fresh_biases_do_not_count():
    record = trained(STUCK, ratio=1e-3)
    updates = record.variables.update_norm.copy()
    updates[:, [i for i, role in enumerate(record.variables.roles) if role == "bias"]] = 100.0
    object.__setattr__(record.variables, "update_norm", updates)
    assert not findings_of(SLUG, record)


def test_a_short_run_is_judged_by_wilder_steps_only():
    early = [2.0, 1.5]
    assert not findings_of(SLUG, trained(early, ratio=0.5))
    assert findings_of(SLUG, trained(early, ratio=2.0))


@pytest.mark.parametrize(("peak", "fires"), [(0.19, False), (0.21, True)])
def test_boundary_of_the_update_ratio(peak, fires):
    assert bool(findings_of(SLUG, trained(STUCK, ratio=spike(peak)))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.59, False), (0.61, True)])
def test_boundary_of_where_the_run_ends(end, fires):
    assert bool(findings_of(SLUG, trained(np.full(20, end), ratio=spike(1.0)))) is fires


def test_judged_from_the_first_loss_where_no_baseline_is_known():
    record = trained(np.r_[1.0, STUCK], ratio=spike(2.0, 336), baseline=None)
    assert "the first loss" in findings_of(SLUG, record)[0].message


def test_history_fires_on_steady_growth_with_the_rate_that_growth_allows():
    growing = 2.0 * 4.0 ** np.arange(8)
    record = history_record(loss=growing, learning_rate=[0.1] * 8)
    (finding,) = findings_of(SLUG, record)
    # Growth by 4 means learning rate x λ = 3, of which 2 is stable and 1 leaves the margin.
    assert "from 0.1 to 0.02" in finding.remedies[0].text
    unknown = findings_of(SLUG, history_record(loss=[*growing, np.nan]))[0]
    assert "Multiply the learning rate by 0.33" in unknown.remedies[0].text


def test_history_abstains_where_the_curve_alone_cannot_tell():
    for loss in ([0.7] * 20, [np.nan] * 3, [1.0, 0.5, 0.4], [-1.0, -2.0, 5.0, 80.0]):
        assert outcome_of(SLUG, history_record(loss=loss)).status == "not_applicable"


def test_a_loss_of_unknown_meaning_is_judged_by_what_the_model_answers():
    record = trained(np.full(20, 0.01), ratio=spike(0.5), error_rate=0.5)
    model = dataclasses.replace(record.model, custom_train_step=True)
    (finding,) = findings_of(SLUG, run_record(record, model=model))
    assert "learned nothing" in finding.message
    learned = trained(np.full(20, 0.01), ratio=spike(0.5), error_rate=0.1)
    assert not findings_of(SLUG, run_record(learned, model=model))
