import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord
from tests.records import config_record, findings_of, history_record, outcome_of, trained

SLUG = "negative_loss"


def with_loss(name, values=(0.5, -3.0), **fields):
    record = trained(list(values))
    return dataclasses.replace(record, losses=(LossRecord(name=name, baseline=1.0, **fields),))


def on_labels(y):
    record = with_loss("binary_crossentropy")
    return dataclasses.replace(record, train=config_record(y=y).train)


def test_fires_on_a_cross_entropy_below_zero():
    (finding,) = findings_of(SLUG, on_labels(np.tile([-1, 1], 50)))
    assert finding.severity is Severity.ERROR
    assert "fell to -3" in finding.message
    assert "asarray(y) > 0" in finding.remedies[0].code


@pytest.mark.parametrize("y", [np.arange(150) % 3, np.linspace(-4, 4, 100)])
def test_labels_that_are_no_signs_are_not_cut_at_zero(y):
    (finding,) = findings_of(SLUG, on_labels(y))
    assert "> 0" not in finding.remedies[0].code


def test_history_only_asks():
    (finding,) = findings_of(SLUG, history_record(loss=[0.5, -1.0]))
    assert finding.severity is Severity.INFO
    assert "right for a likelihood" in finding.message


@pytest.mark.parametrize("values", [(0.5, 0.0), (0.5, -1e-9)])
def test_silent_at_zero(values):
    assert not findings_of(SLUG, with_loss("mean_squared_error", values))


def test_abstains_on_losses_that_may_be_negative():
    for record in (
        with_loss("cosine_similarity"),
        with_loss("poisson"),
        with_loss("my_loss", custom=True),
    ):
        assert outcome_of(SLUG, record).status == "not_applicable"
    record = with_loss("mean_squared_error")
    model = dataclasses.replace(record.model, added_losses=1)
    assert outcome_of(SLUG, dataclasses.replace(record, model=model)).status == "not_applicable"


def test_silent_on_a_loss_that_was_never_finite():
    assert not findings_of(SLUG, with_loss("mean_squared_error", (np.nan, np.nan)))
