import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import TargetPairing
from tests.records import chain, dense, findings_of, layer, outcome_of, trained

SLUG = "train_inference_gap"
NORMALIZED = chain(
    dense("dense", 8, 20), layer("norm", "BatchNormalization", momentum=0.9999), dense("out", 1, 8)
)


def modes(inference, training=0.1, model=NORMALIZED, loss=None):
    record = trained(np.full(20, training) if loss is None else loss, model=model)
    pairing = (TargetPairing(output=0, rows=8, loss=inference),)
    return dataclasses.replace(record, train=dataclasses.replace(record.train, pairing=pairing))


def test_fires_and_lowers_the_momentum():
    (finding,) = findings_of(SLUG, modes(0.9))
    assert "cost 0.9 of a constant prediction's loss in inference mode, but 0.1" in finding.message
    assert finding.layers == ("norm",)
    assert '"norm": {"momentum": 0.9}' in finding.remedies[0].code


def test_a_layer_of_ones_own_is_asked_about():
    own = dataclasses.replace(layer("mine", "Layer"), custom=True)
    (finding,) = findings_of(SLUG, modes(0.9, model=chain(own, dense("out", 1, 20))))
    assert "`training`" in finding.remedies[0].text


def test_worth_knowing_where_the_decisions_hold():
    record = modes(0.9)
    for error_rate, severity in ((0.02, Severity.INFO), (0.1, Severity.ERROR)):
        pairing = dataclasses.replace(
            record.train.pairing[0], error_rate=error_rate, chance_error_rate=0.5
        )
        train = dataclasses.replace(record.train, pairing=(pairing,))
        (finding,) = findings_of(SLUG, dataclasses.replace(record, train=train))
        assert finding.severity is severity


@pytest.mark.parametrize(
    "record",
    [
        modes(0.05, training=0.4, model=chain(layer("drop", "Dropout"), dense("out", 1, 20))),
        modes(0.12),
        modes(0.6, loss=0.5 + 0.3 * np.tile([1, -1], 10)),
    ],
    ids=["dropout costs in training", "modes agree", "the loss jumps as far"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("inference", "fires"), [(0.39, False), (0.41, True)])
def test_boundary_of_the_gap(inference, fires):
    assert bool(findings_of(SLUG, modes(inference))) is fires


def test_not_applicable_without_such_layers_or_an_inference_loss():
    assert "no layer works differently" in outcome_of(SLUG, modes(0.9, model=None)).reason
    assert outcome_of(SLUG, trained([1.0], model=NORMALIZED)).status == "not_applicable"
