import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, OptimizerRecord
from tests.records import findings_of, history_record, outcome_of, trained

SLUG = "high_initial_loss"


def starting(first, **options):
    record = trained(np.full(10, 1.2), **options)
    record.steps.loss[0] = first
    return record


def test_fires_before_the_first_update():
    (finding,) = findings_of(SLUG, starting(50.0))
    assert finding.severity is Severity.WARNING
    assert "50, 50 times the 1 of a prediction that knows nothing" in finding.message
    assert 'model.get_layer("dense_1").kernel' in finding.remedies[0].code


def test_a_run_that_learned_all_the_same_is_info():
    (finding,) = findings_of(SLUG, starting(50.0, error_rate=0.01))
    assert finding.severity is Severity.INFO
    assert "learned all the same" in finding.message


@pytest.mark.parametrize(("first", "fires"), [(9.0, False), (11.0, True)])
def test_boundary_of_the_excess(first, fires):
    assert bool(findings_of(SLUG, starting(first))) is fires


def test_rare_classes_make_no_even_guess_a_high_loss():
    record = starting(0.69)
    other = LossRecord(name="huber", baseline=0.05, floor=0.0)
    assert findings_of(SLUG, dataclasses.replace(record, losses=(other,)))
    even = LossRecord(name="binary_crossentropy", baseline=0.05, floor=0.0)
    assert not findings_of(SLUG, dataclasses.replace(record, losses=(even,)))


def test_answering_zero_costs_the_square_of_an_offset():
    record = starting(26.0)
    summary = record.train.targets[0]
    for mean, expected in ((0.0, 1), (5.0, 0)):
        offset = dataclasses.replace(summary, mean=mean, std=1.0)
        train = dataclasses.replace(record.train, targets=(offset,))
        assert len(findings_of(SLUG, dataclasses.replace(record, train=train))) == expected


def test_penalties_are_not_counted():
    record = starting(50.0)
    logs = dataclasses.replace(record.history, penalty=np.full(10, 48.0))
    assert not findings_of(SLUG, dataclasses.replace(record, history=logs))


def test_not_applicable_to_trained_models_and_histories():
    resumed = OptimizerRecord(class_name="SGD", learning_rate=0.1, iterations=500)
    assert "trained before" in outcome_of(SLUG, starting(50.0, optimizer=resumed)).reason
    assert outcome_of(SLUG, history_record(loss=[50.0, 1.0])).status == "not_applicable"
