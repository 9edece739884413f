import dataclasses

import numpy as np

from lossdoctor.finding import Severity
from lossdoctor.record.run import CallbackRecord, FitRecord, OptimizerRecord, RunRecord
from tests.records import (
    chain,
    config_record,
    dense,
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
    assert "94% of the run is still to come" in finding.message
    assert "learning_rate=0.01" in finding.remedies[0].code


def test_silent_on_warm_up_cosine_and_step_schedules():
    ramp = np.concatenate([np.linspace(0, 0.1, 20), np.linspace(0.1, 0, 13)])
    cosine = 0.05 * (1 + np.cos(np.linspace(0, np.pi, 33)))
    stepwise = np.repeat([0.1, 0.01, 0.001], 11)
    for values in (ramp, cosine, stepwise, np.full(33, 1e-5)):
        assert found(scheduled(values)) == ()


def test_a_logged_rate_counts_unless_the_loss_itself_lowers_it():
    rates = [0.01] + [1e-7] * 9
    base = run_record(config_record(optimizer=SGD), history=history(loss=[1.0] * 10))
    logged = dataclasses.replace(base.history, learning_rate=np.asarray(rates))
    base = dataclasses.replace(base, history=logged)
    assert len(findings_of(SLUG, base)) == 1
    callbacks = (CallbackRecord(class_name="ReduceLROnPlateau"),)
    lowered = dataclasses.replace(base, fit=FitRecord(callbacks=callbacks))
    assert findings_of(SLUG, lowered) == ()


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


def test_weight_decay_on_top_of_a_penalty_is_information():
    model = chain(dense("a", 9, 20, kernel_regularizer="L2"), dense("head", 1, 9))
    decayed = dataclasses.replace(ADAM, class_name="AdamW", weight_decay=0.004)
    (finding,) = found(decayed, model=model)
    assert finding.severity is Severity.INFO
    assert found(decayed) == ()
    assert found(ADAM, model=model) == ()


def test_not_applicable_without_an_optimizer():
    record = dataclasses.replace(config_record(), optimizer=None)
    assert outcome_of(SLUG, record).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_a_plateau_callback_that_cuts_the_rate_of_a_falling_loss():
    fit = FitRecord(epochs=10, callbacks=(CallbackRecord(class_name="ReduceLROnPlateau"),))
    rates = [0.01, 0.01, 1e-4, 1e-6, *[1e-8] * 6]

    def cut(loss):
        logs = history(learning_rate=rates, loss=loss)
        return findings_of(SLUG, run_record(config_record(optimizer=SGD, fit=fit), history=logs))

    (finding,) = cut([2.9, 1.3, 0.6, 0.5, *[0.5] * 6])
    assert "ReduceLROnPlateau" in finding.remedies[0].text
    assert not cut([0.55, 0.52, 0.51, 0.5, *[0.5] * 6])


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
