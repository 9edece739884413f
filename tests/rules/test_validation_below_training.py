import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import TargetPairing
from tests.records import chain, dense, findings_of, history_record, layer, outcome_of, trained

SLUG = "validation_below_training"
TRAIN = np.geomspace(1.0, 0.3, 20)


def test_names_dropout_where_inference_mode_explains_it():
    model = chain(dense("dense", 8, 20), layer("drop", "Dropout", rate=0.5), dense("out", 1, 8))
    record = trained(TRAIN, val_loss=TRAIN * 0.7, model=model)
    pairing = (TargetPairing(output=0, rows=8, loss=0.2),)
    record = dataclasses.replace(record, train=dataclasses.replace(record.train, pairing=pairing))
    (finding,) = findings_of(SLUG, record)
    assert finding.severity is Severity.INFO
    assert "30% below" in finding.message
    assert "because 'drop' acts in training only: in inference mode the training rows cost 0.2" in (
        finding.message
    )


def test_says_where_mode_does_not_explain_it():
    record = trained(TRAIN, val_loss=TRAIN * 0.5)
    pairing = (TargetPairing(output=0, rows=8, loss=0.3),)
    record = dataclasses.replace(record, train=dataclasses.replace(record.train, pairing=pairing))
    assert "easier for this model" in findings_of(SLUG, record)[0].message


def test_history_alone():
    (finding,) = findings_of(SLUG, history_record(loss=TRAIN, val_loss=TRAIN * 0.7))
    assert "the curves alone do not tell" in finding.message


def test_class_weights_explain_it():
    run = trained(TRAIN, val_loss=TRAIN * 0.7)
    fit = dataclasses.replace(run.fit, class_weight=True)
    (finding,) = findings_of(SLUG, dataclasses.replace(run, fit=fit))
    assert "class weights count in training only" in finding.message


def test_of_a_negative_loss_no_share_can_be_told():
    record = history_record(loss=TRAIN - 2, val_loss=TRAIN - 3)
    assert "negative" in outcome_of(SLUG, record).reason


@pytest.mark.parametrize("validation", [TRAIN * 1.2, TRAIN * 0.97, TRAIN * np.tile([0.5, 1.5], 10)])
def test_silent_above_near_and_around_the_training_loss(validation):
    assert not findings_of(SLUG, trained(TRAIN, val_loss=validation))


@pytest.mark.parametrize(("factor", "fires"), [(0.91, False), (0.89, True)])
def test_boundary_of_the_deficit(factor, fires):
    assert bool(findings_of(SLUG, trained(TRAIN, val_loss=TRAIN * factor))) is fires


def test_not_applicable_without_validation_or_with_few_epochs():
    assert outcome_of(SLUG, trained(TRAIN)).status == "not_applicable"
    assert outcome_of(SLUG, trained([1.0, 0.9], val_loss=[0.1, 0.1])).status == "not_applicable"
