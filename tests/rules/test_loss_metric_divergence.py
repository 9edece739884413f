import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import TargetPairing
from tests.records import findings_of, history_record, outcome_of, trained

SLUG = "loss_metric_divergence"
LEARNED = np.geomspace(1.0, 0.2, 20)


def test_fires_where_the_loss_fell_and_the_decisions_are_chance():
    (finding,) = findings_of(SLUG, trained(LEARNED, error_rate=0.5))
    assert "50% of the decisions are wrong" in finding.message
    assert "model.predict" in finding.remedies[0].code


def test_silent_where_both_agree():
    assert not findings_of(SLUG, trained(LEARNED, error_rate=0.1))
    assert not findings_of(SLUG, trained(np.full(20, 1.0), error_rate=0.5))


@pytest.mark.parametrize(("end", "fires"), [(0.58, True), (0.62, False)])
def test_boundary_of_the_loss(end, fires):
    assert bool(findings_of(SLUG, trained(np.full(20, end), error_rate=0.5))) is fires


@pytest.mark.parametrize(("error_rate", "fires"), [(0.48, True), (0.47, False)])
def test_boundary_of_the_decisions(error_rate, fires):
    assert bool(findings_of(SLUG, trained(LEARNED, error_rate=error_rate))) is fires


@pytest.mark.parametrize(("chance", "status"), [(0.05, "not_applicable"), (0.2, "found")])
def test_boundary_of_the_rarest_class(chance, status):
    record = trained(LEARNED)
    pairing = TargetPairing(output=0, rows=8, error_rate=chance, chance_error_rate=chance)
    train = dataclasses.replace(record.train, pairing=(pairing,))
    assert outcome_of(SLUG, dataclasses.replace(record, train=train)).status == status


def test_not_applicable_to_regressions_and_histories():
    record = trained(LEARNED)
    pairing = TargetPairing(output=0, rows=8, r2=0.5)
    train = dataclasses.replace(record.train, pairing=(pairing,))
    assert "no classes" in outcome_of(SLUG, dataclasses.replace(record, train=train)).reason
    assert outcome_of(SLUG, history_record(loss=LEARNED)).status == "not_applicable"
