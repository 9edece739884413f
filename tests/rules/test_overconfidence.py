import numpy as np
import pytest

from lossdoctor.finding import Severity
from tests.records import findings_of, outcome_of, trained

SLUG = "overconfidence"
TRAIN = np.geomspace(1.0, 0.02, 60)
TURNING = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, 0.9, 40)]
HOLDING = {"accuracy": np.linspace(0.5, 0.98, 60), "val_accuracy": np.linspace(0.5, 0.95, 60)}


def test_fires_where_the_metric_holds():
    (finding,) = findings_of(SLUG, trained(TRAIN, val_loss=TURNING, **HOLDING))
    assert finding.severity is Severity.WARNING
    assert "val_accuracy held its level" in finding.message
    assert "restore_best_weights=True" in finding.remedies[0].code


@pytest.mark.parametrize(
    ("end", "severity"), [(0.54, None), (0.62, Severity.INFO), (0.9, Severity.WARNING)]
)
def test_boundaries_of_the_rise(end, severity):
    rising = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, end, 40)]
    found = findings_of(SLUG, trained(TRAIN, val_loss=rising, **HOLDING))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("accuracy", "fires"), [(0.8, False), (0.92, True)])
def test_boundary_of_the_metric_gap(accuracy, fires):
    logs = {"accuracy": np.full(60, 0.99), "val_accuracy": np.full(60, accuracy)}
    assert bool(findings_of(SLUG, trained(TRAIN, val_loss=TURNING, **logs))) is fires


def test_silent_where_the_metric_falls_too_or_the_loss_does_not_rise():
    falling = np.r_[np.linspace(0.5, 0.9, 20), np.linspace(0.9, 0.7, 40)]
    worse = {"accuracy": HOLDING["accuracy"], "val_accuracy": falling}
    assert not findings_of(SLUG, trained(TRAIN, val_loss=TURNING, **worse))
    assert not findings_of(SLUG, trained(TRAIN, val_loss=TRAIN + 0.02, **HOLDING))


def test_not_applicable_without_a_metric_or_with_few_rows():
    assert "no metric" in outcome_of(SLUG, trained(TRAIN, val_loss=TURNING)).reason
    few = trained(TRAIN, val_loss=TURNING, rows=20, **HOLDING)
    assert "20 validation examples" in outcome_of(SLUG, few).reason
