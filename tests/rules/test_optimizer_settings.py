import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import CallbackRecord, FitRecord, OptimizerRecord, RunRecord
from tests.records import (
    config_record,
    findings_of,
    history,
    mlp,
    outcome_of,
    run_record,
    steps,
    variables,
)

SLUG = "optimizer_settings"
SGD = OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9)
ADAM = OptimizerRecord(class_name="Adam", learning_rate=0.001, beta_1=0.9, beta_2=0.999)


def found(optimizer, **fields):
    return findings_of(SLUG, config_record(optimizer=optimizer, **fields))


def scheduled(values):
    values = tuple(float(v) for v in values)
    return dataclasses.replace(
        SGD, learning_rate=values[0], schedule="OwnSchedule", schedule_values=values
    )


def test_a_rate_of_zero_or_below():
    (finding,) = found(dataclasses.replace(SGD, learning_rate=0.0))
    assert finding.severity is Severity.ERROR
    assert "stands still" in finding.message
    assert "learning_rate=0.01" in finding.remedies[0].code
    (finding,) = found(dataclasses.replace(ADAM, learning_rate=-0.001))
    assert "climbs" in finding.message
    assert "learning_rate=0.001" in finding.remedies[0].code


def test_a_schedule_that_is_spent_at_once():
    (finding,) = found(scheduled(0.01 * 0.5 ** np.linspace(0, 160, 33)))
    assert finding.severity is Severity.WARNING
    assert "goes 3.1% of the way its highest rate of 0.01 would go" in finding.message
    assert "learning_rate=0.01" in finding.remedies[0].code


def test_silent_on_warm_up_cosine_and_step_schedules():
    ramp = np.concatenate([np.linspace(0, 0.1, 20), np.linspace(0.1, 0, 13)])
    cosine = 0.05 * (1 + np.cos(np.linspace(0, np.pi, 33)))
    stepwise = np.repeat([0.1, 0.01, 0.001], 11)
    for values in (ramp, cosine, stepwise, np.full(33, 1e-5)):
        assert found(scheduled(values)) == ()


def run_at(rates, loss, callback="LearningRateScheduler"):
    """A run of one entry an epoch, each of 16 steps."""
    fit = FitRecord(epochs=len(loss), callbacks=(CallbackRecord(class_name=callback),))
    each = steps(np.repeat(loss, 16), learning_rate=np.repeat(rates, 16))
    logs = history(learning_rate=rates, loss=loss)
    return findings_of(
        SLUG, run_record(config_record(optimizer=SGD, fit=fit), history=logs, steps=each)
    )


def test_a_rate_that_fell_while_the_loss_still_did():
    inverse = 0.01 / (1 + np.arange(40))
    slow = 2.9 - 0.3 * np.log1p(np.arange(40))
    (finding,) = run_at(inverse, slow)
    assert finding.severity is Severity.WARNING
    assert [m.name for m in finding.measurements] == ["way", "gain"]
    assert "keras.callbacks.LearningRateScheduler" in finding.remedies[0].code
    at_its_floor = np.r_[2.9, 1.4, np.full(38, 1.2)]
    assert run_at(inverse, at_its_floor) == ()
    assert run_at(inverse, np.r_[2.9, 1.0, 0.5, np.full(37, 0.1)]) == ()
    assert run_at(0.01 / (1 + 0.1 * np.arange(40)), slow) == ()


def test_a_rate_gone_after_the_first_epoch_needs_no_loss_that_falls():
    rates = [0.01] + [1e-7] * 39
    assert len(run_at(rates, np.full(40, 2.0))) == 1
    assert run_at(rates, np.full(40, 2.0), "ReduceLROnPlateau") == ()


def test_a_plateau_callback_that_cuts_the_rate_of_a_falling_loss():
    rates = [0.01, 0.01, 1e-4, 1e-6, *[1e-8] * 26]
    (finding,) = run_at(rates, [2.9, 1.9, 1.7, 1.7, *[1.7] * 26], "ReduceLROnPlateau")
    assert "ReduceLROnPlateau" in finding.remedies[0].text
    assert "keras.callbacks.ReduceLROnPlateau" in finding.remedies[0].code
    assert not run_at(rates, [1.72, 1.71, 1.7, 1.7, *[1.7] * 26], "ReduceLROnPlateau")


def clipped_run(optimizer, gradient=10.0, count=160):
    model = mlp()
    base = config_record(model=model, optimizer=optimizer)
    return run_record(
        base,
        steps=steps(np.ones(count)),
        variables=variables(model, count=count, gradient_norm=gradient),
    )


def test_clipping_that_leaves_nothing():
    tight = dataclasses.replace(SGD, clipnorm=1e-3)
    (finding,) = findings_of(SLUG, clipped_run(tight))
    assert "clipnorm=0.001 clips 100% of the gradients" in finding.message
    assert "clipnorm=1.0)" in finding.remedies[0].code
    for setting in ("global_clipnorm", "clipvalue"):
        other = dataclasses.replace(SGD, **{setting: 1e-4})
        (finding,) = findings_of(SLUG, clipped_run(other))
        assert finding.message.startswith(setting)


def test_silent_on_clipping_that_leaves_room_or_rarely_acts():
    assert findings_of(SLUG, clipped_run(dataclasses.replace(SGD, clipnorm=1.0))) == ()
    tight = dataclasses.replace(SGD, clipnorm=1e-3)
    assert findings_of(SLUG, clipped_run(tight, gradient=1e-4)) == ()
    assert findings_of(SLUG, clipped_run(dataclasses.replace(ADAM, clipnorm=1e-3))) == ()


def test_memory_beyond_theory():
    (finding,) = found(dataclasses.replace(ADAM, beta_1=0.99, beta_2=0.9))
    assert "beta_1=0.99" in finding.message
    for fit in (None, FitRecord(epochs=1, steps_per_epoch=10)):
        (finding,) = found(dataclasses.replace(SGD, momentum=1.0), fit=fit)
        assert "momentum=1" in finding.message
    assert found(dataclasses.replace(ADAM, beta_1=0.5)) == ()


def test_an_epsilon_that_swallows_the_gradients():
    def run(epsilon):
        return findings_of(SLUG, clipped_run(dataclasses.replace(ADAM, epsilon=epsilon), 0.01))

    (finding,) = run(1.0)
    assert "times the gradients" in finding.message
    assert "epsilon=1e-07" in finding.remedies[0].code
    assert run(1e-3) == ()
    assert findings_of(SLUG, clipped_run(dataclasses.replace(ADAM, epsilon=1e-7), 1e-12)) == ()


def test_not_applicable_without_an_optimizer():
    record = dataclasses.replace(config_record(), optimizer=None)
    assert outcome_of(SLUG, record).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_momentum_that_remembers_most_of_the_run():
    fit = FitRecord(epochs=8, steps_per_epoch=47)
    (finding,) = found(dataclasses.replace(SGD, momentum=0.999), fit=fit)
    assert "momentum=0.999 adds up the gradients of 1,000 steps" in finding.message
    assert "momentum=0.9" in finding.remedies[0].code
    (finding,) = found(dataclasses.replace(ADAM, beta_1=0.995), fit=fit)
    assert "beta_1=0.995" in finding.message
    assert not found(dataclasses.replace(SGD, momentum=0.99), fit=FitRecord(epochs=1))
    assert not found(dataclasses.replace(SGD, momentum=0.99), fit=fit)
    long = FitRecord(epochs=100, steps_per_epoch=47)
    assert not found(dataclasses.replace(SGD, momentum=0.999), fit=long)
