import dataclasses

import numpy as np
import pytest

from lossdoctor.engine import diagnose_record
from lossdoctor.evidence.rehearsal import stable_product
from lossdoctor.finding import Severity
from lossdoctor.record.run import OptimizerRecord, Rehearsal, Trial
from tests.records import config_record, findings_of, outcome_of, run_record

SLUG = "unstable_learning_rate"
INITIAL = np.full(64, 2.0)


def rehearsed(losses, *, rate=0.5, lower=(), **fields):
    trials = [Trial(rate=rate, losses=np.asarray(losses, dtype=float))]
    trials += [Trial(rate=other, losses=INITIAL) for other in lower]
    numbers = {"initial": INITIAL, "baseline": 1.5, "floor": 0.0, **fields}
    return config_record(
        optimizer=OptimizerRecord(class_name="SGD", learning_rate=rate, momentum=0.9),
        rehearsal=Rehearsal(trials=tuple(trials), **numbers),
    )


def ending_at(value):
    return np.concatenate([np.full(32, 2.0), np.full(32, value)])


def test_fires_when_the_loss_stops_being_finite():
    record = rehearsed([2, 9, 80, np.inf], lower=[0.05], calm_rate=0.05, sharpness=40.0, secant=9.0)
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.ERROR
    assert "At a learning rate of 0.5 the loss stops being finite at rehearsed step 4" in (
        finding.message
    )
    assert finding.remedies[0].code == "model.optimizer.learning_rate = 0.02"
    assert "half of 0.05, the largest rate that stayed calm" in finding.remedies[0].text
    values = {m.name: m.value for m in finding.measurements}
    assert values["largest stable rate by curvature"] == pytest.approx(2 * 1.9 / 40)


def test_later_batches_may_be_the_harder_ones():
    hardness = np.array([1.0, 1.1, 1.05, 1.05, 1.5, 1.1, 1.6, 1.3])
    untouched = rehearsed(hardness, rate=1e-3, initial=hardness, baseline=1.2)
    assert not findings_of(SLUG, untouched)
    risen = rehearsed(hardness + np.linspace(0, 1, 8), initial=hardness, baseline=1.2)
    assert findings_of(SLUG, risen)


def test_a_loss_that_stays_finite_is_worse_the_higher_it_stands():
    (mild,) = findings_of(SLUG, rehearsed(ending_at(3.0), calm_rate=0.1))
    assert mild.severity is Severity.WARNING
    assert "stands at 3 after 64 rehearsed steps, above the 2 of knowing nothing" in mild.message
    (grave,) = findings_of(SLUG, rehearsed(ending_at(30.0), calm_rate=0.1))
    assert grave.severity is Severity.ERROR


@pytest.mark.parametrize(
    "losses",
    [
        np.linspace(2.0, 0.1, 64),
        np.concatenate([[2, 50, 400, 60, 8], np.linspace(3, 0.5, 59)]),
        np.concatenate([np.full(44, 6.0), np.linspace(3, 0.9, 20)]),
        np.full(64, 2.01),
        np.where(np.arange(64) % 2, 2.6, 1.2),
    ],
    ids=[
        "falls",
        "catapult that settles",
        "catapult that settles late",
        "learns nothing",
        "oscillates below the start",
    ],
)
def test_silent_on_what_does_not_diverge(losses):
    assert outcome_of(SLUG, rehearsed(losses)).status == "clear"


def test_a_pretrained_model_may_not_end_above_a_constant_but_above_its_own_start():
    start = np.full(64, 0.2)
    assert not findings_of(SLUG, rehearsed(np.full(64, 1.4), initial=start))
    assert findings_of(SLUG, rehearsed(np.full(64, 1.8), initial=start))


def test_what_cannot_be_learned_does_not_count():
    # Soft labels: 1.9 of the 2.0 are their own entropy, so 2.05 is half as much again to learn.
    assert not findings_of(SLUG, rehearsed(ending_at(2.05)))
    assert findings_of(SLUG, rehearsed(ending_at(2.05), floor=1.9))


def test_boundary_of_the_rise():
    record = rehearsed(ending_at(2.5))
    assert findings_of(SLUG, record, rise=0.24)
    assert not findings_of(SLUG, record, rise=0.26)


def test_without_a_calm_rate_it_goes_below_the_lowest_one():
    record = rehearsed([2, np.nan], lower=[0.05, 0.005], calm_rate=None)
    remedy = findings_of(SLUG, record)[0].remedies[0]
    assert remedy.code == "model.optimizer.learning_rate = 0.0005"
    assert "no rate down to 0.005 stayed calm" in remedy.text


def test_not_applicable_without_a_rehearsal_and_in_a_run():
    assert "pass x=" in outcome_of(SLUG, config_record()).reason
    switched_off = config_record(not_recorded={"the rehearsal": "switched off by rehearse=False"})
    assert "rehearse=False" in outcome_of(SLUG, switched_off).reason
    assert outcome_of(SLUG, run_record(rehearsed([2, np.inf]))).status == "not_applicable"


def test_unscaled_inputs_stand_above_it():
    record = rehearsed([2, np.inf], calm_rate=1e-6)
    x = np.random.default_rng(0).normal(size=(200, 20)) * 5000
    scaled = config_record(x=x, y=x[:, 0] / 5000, optimizer=record.optimizer)
    record = dataclasses.replace(scaled, rehearsal=record.rehearsal)
    findings = diagnose_record(record).findings
    assert findings[0].rule == "unscaled_inputs"
    assert next(f for f in findings if f.rule == SLUG).explained_by == "unscaled_inputs"


@pytest.mark.parametrize(
    ("optimizer", "product"),
    [
        ({"class_name": "SGD"}, 2),
        ({"class_name": "SGD", "momentum": 0.9}, 3.8),
        ({"class_name": "SGD", "momentum": 0.9, "nesterov": True}, 3.8 / 2.8),
        ({"class_name": "Adam", "beta_1": 0.9}, 38),
        ({"class_name": "RMSprop"}, 2),
        ({"class_name": "SGD", "clipnorm": 1.0}, None),
        ({"class_name": "Lion"}, None),
    ],
)
def test_the_stable_product_is_that_of_the_literature(optimizer, product):
    found = stable_product(OptimizerRecord(**optimizer))
    assert found is None if product is None else found == pytest.approx(product)
