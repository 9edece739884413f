import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, OptimizerRecord, RunRecord, TargetPairing
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    history,
    layer,
    mlp,
    outcome_of,
    run_record,
)

SLUG = "unscaled_targets"
Z = np.random.default_rng(0).normal(size=500)
SGD = OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9)
ADAM = OptimizerRecord(class_name="Adam", learning_rate=0.001)
FIT = FitRecord(epochs=100, batch_size=32)


def record(y, *, optimizer=SGD, **fields):
    fields.setdefault("fit", FIT)
    return config_record(y=y, optimizer=optimizer, **fields)


def found(y, **fields):
    return findings_of(SLUG, record(y, **fields))


def measured(y, **fields):
    return [m.name for finding in found(y, **fields) for m in finding.measurements]


def test_the_tutorials_own_target_under_sgd():
    (finding,) = found(140 * Z)
    assert finding.severity is Severity.ERROR
    assert finding.measurements[0].name == "growing step"
    assert "the steps grow with that distance" in finding.message


def test_the_same_target_is_within_reach_of_adam():
    assert found(140 * Z, optimizer=ADAM) == ()


def test_prices_are_out_of_adams_reach():
    assert measured(180_000 + 80_000 * Z, optimizer=ADAM) == ["spread travel"]
    assert measured(300 + 5 * Z, optimizer=ADAM) == ["offset travel"]
    faster = dataclasses.replace(ADAM, learning_rate=0.1)
    assert measured(300 + 5 * Z, optimizer=faster) == []


def test_a_run_too_short_for_any_target_is_judged_by_other_rules():
    crawling = dataclasses.replace(ADAM, learning_rate=1e-6)
    assert found(22 + 5 * Z, optimizer=crawling) == ()
    assert measured(180_000 + 80_000 * Z, optimizer=crawling) == ["spread travel"]


def test_steps_too_small_for_any_target_are_the_rates_fault():
    crawling = dataclasses.replace(ADAM, learning_rate=1e-6)
    before = record(180_000 + 80_000 * Z, optimizer=crawling)
    assert findings_of(SLUG, before)[0].severity is Severity.WARNING
    pairs = (TargetPairing(output=0, rows=500, r2=-5.0),)
    after = run_record(before, train=dataclasses.replace(before.train, pairing=pairs))
    (finding,) = findings_of(SLUG, after)
    assert finding.severity is Severity.INFO
    assert "out of reach as well" in finding.message


def test_unknown_number_of_steps_counts_as_a_travel_of_one():
    assert measured(180_000 + 80_000 * Z, optimizer=ADAM, fit=FitRecord()) == ["spread travel"]


def test_absolute_error_and_clipping_bound_the_steps():
    for fields in ({"loss": "mean_absolute_error"}, {"loss": "huber"}):
        assert measured(140 * Z, **fields) == []
    assert measured(140 * Z, optimizer=dataclasses.replace(SGD, clipnorm=1.0)) == []


def test_targets_that_hardly_vary():
    assert measured(0.01 * Z) == ["spread"]
    assert measured(0.04 * Z) == []
    rare = np.zeros(1000)
    rare[0] = 1.0
    assert measured(rare) == []


def test_columns_of_different_spread():
    y = np.stack([Z, 200 * Z], axis=1)
    assert "disparity" in measured(y, model=mlp(units=2))
    assert measured(np.stack([Z, 2 * Z], axis=1), model=mlp(units=2)) == []


def test_outliers_do_not_make_a_target_large():
    y = Z.copy()
    y[:10] *= 1000
    assert found(y) == ()


@pytest.mark.parametrize(("ends", "fires"), [(20.0, True), (60.0, True), (67.0, False)])
def test_a_mean_that_the_predictions_never_got_to(ends, fires):
    y = 70 + 10 * Z
    answers = np.full((500, 1), ends) + 0.1 * Z[:, None]
    (finding,) = found(y, optimizer=ADAM, predictions=answers) or (None,)
    assert (finding is not None) is fires
    if finding is not None:
        assert finding.measurements[-1].value == pytest.approx((70 - ends) / 10, abs=0.1)
        assert "spreads short of them" in finding.message
    assert found(y, optimizer=ADAM) == ()


def test_a_mean_of_a_few_spreads_is_made_up_for():
    assert measured(22 + 9 * Z, optimizer=ADAM) == []
    assert measured(40 + 4.5 * Z, optimizer=ADAM) == ["offset travel"]


@pytest.mark.parametrize("y", [Z, 22 + 9 * Z[:, None] * 0.5, np.arange(3).repeat(50)])
def test_silent_on_targets_a_head_can_meet(y):
    assert found(y, optimizer=dataclasses.replace(SGD, momentum=0.0)) == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"loss": "mean_squared_logarithmic_error"}, "own unit"),
        ({"loss": "poisson"}, "own unit"),
        ({"loss": "binary_crossentropy"}, "own unit"),
        ({"model": mlp(activation="sigmoid")}, "range of its own"),
        ({"model": mlp(activation="softmax", units=3)}, "range of its own"),
        (
            {"model": chain(dense("a", 1, 20), layer("unscale", "Rescaling", scale=140.0))},
            "'unscale' rescales",
        ),
        (
            {"model": chain(dense("a", 1, 20), layer("un", "Normalization", invert=True))},
            "'un' rescales",
        ),
    ],
)
def test_not_applicable(fields, reason):
    outcome = outcome_of(SLUG, record(140 * Z, **fields))
    assert outcome.status == "not_applicable"
    assert reason in outcome.reason


def test_a_bias_that_starts_at_the_mean_is_no_distance():
    model = mlp()
    head = model.layers[-1]
    kernel, bias = head.weights
    head = dataclasses.replace(head, weights=(kernel, dataclasses.replace(bias, mean=300.0)))
    model = dataclasses.replace(model, layers=(*model.layers[:-1], head))
    assert found(300 + 3 * Z, optimizer=ADAM, model=model) == ()


def test_a_run_that_fits_anyway_makes_it_information():
    base = record(140 * Z)
    for r2, severity in ((0.9, Severity.INFO), (0.1, Severity.ERROR)):
        train = dataclasses.replace(base.train, pairing=(TargetPairing(output=0, rows=9, r2=r2),))
        (finding,) = findings_of(SLUG, run_record(base, train=train))
        assert finding.severity is severity


@pytest.mark.parametrize(("last", "severity"), [(0.5, Severity.WARNING), (0.99, Severity.INFO)])
def test_a_run_that_ended_on_its_way_down_to_them_does_not(last, severity):
    base = record(330 + 140 * Z, optimizer=ADAM, fit=FitRecord(epochs=12, batch_size=32))
    train = dataclasses.replace(base.train, pairing=(TargetPairing(output=0, rows=9, r2=0.84),))
    losses = (dataclasses.replace(base.losses[0], baseline=19600.0, floor=0.0),)
    logs = history(loss=19600 * 0.3 * np.linspace(1 / last, 1, 24))
    (finding,) = findings_of(SLUG, run_record(base, train=train, losses=losses, history=logs))
    assert finding.severity is severity


def test_a_column_nobody_heard_is_no_fit():
    base = record(np.stack([Z, 200 * Z], axis=1), model=mlp(units=2))
    for worst, severity in ((0.9, Severity.INFO), (-5.0, Severity.ERROR)):
        pairing = TargetPairing(output=0, rows=9, r2=0.98, column_r2=(0.98, worst))
        train = dataclasses.replace(base.train, pairing=(pairing,))
        (finding,) = findings_of(SLUG, run_record(base, train=train))
        assert finding.severity is severity


def test_remedies_standardize_and_offer_the_logarithm_to_skewed_prices():
    prices = np.exp(2 * Z) * 1000
    (finding,) = found(prices)
    names = {"y": prices, "y_val": prices[:3], "np": np}
    exec(finding.remedies[0].code, names)
    assert names["y"].std() == pytest.approx(1, abs=1e-4)
    assert names["y_val"] == pytest.approx(names["y"][:3])
    assert "np.log" in finding.remedies[1].code
    assert len(found(140 * Z)[0].remedies) == 1


def test_threshold_of_the_growing_step():
    still = OptimizerRecord(class_name="SGD", learning_rate=0.01)
    unit = Z / Z.std()
    assert measured(49 * unit, optimizer=still) == []
    assert measured(51 * unit, optimizer=still) == ["growing step"]


def test_not_applicable_without_targets_or_model():
    assert outcome_of(SLUG, config_record()).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_a_momentum_of_1_leaves_standardized_targets_alone():
    endless = dataclasses.replace(SGD, momentum=1.0)
    assert findings_of(SLUG, record(Z, optimizer=endless)) == ()
    assert len(findings_of(SLUG, record(1000 * Z + 5000, optimizer=endless))) == 1
