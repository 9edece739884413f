import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import DataRecord
from tests.records import findings_of, outcome_of, run_record, trained

SLUG = "noisy_gradients"
JUMPING = 0.5 + 0.05 * np.tile([1, -1], 10)


def noisy(loss=JUMPING, *, cosine=0.1, batch_size=8, rows=1000, steps_per_epoch=16):
    """Successive gradients of norm 1 with this cosine between them."""
    record = trained(loss, steps_per_epoch=steps_per_epoch)
    series = record.variables
    share = 1 / np.sqrt(series.gradient_norm.shape[1])
    moved = np.sqrt(np.sum(series.update_norm**2, axis=1))
    change = np.sqrt(2 - 2 * cosine)
    variables = dataclasses.replace(
        series,
        gradient_norm=np.full_like(series.gradient_norm, share),
        curvature_norm=np.r_[np.nan, change / moved[:-1]],
    )
    train = DataRecord(batch_size=batch_size, rows=rows)
    return run_record(record, variables=variables, train=train)


def test_fires_and_enlarges_the_batches():
    (finding,) = findings_of(SLUG, noisy())
    assert "0.11 times its noise" in finding.message
    assert finding.remedies[0].code == "batch_size = 64"


@pytest.mark.parametrize(
    "record",
    [
        noisy(np.full(20, 0.5)),
        noisy(JUMPING - 0.4),
        noisy(np.linspace(3.0, 0.5, 40) + 0.06 * np.tile([1, -1], 20)),
        noisy(batch_size=128),
    ],
    ids=["at rest", "near its floor", "falling", "large batches"],
)
def test_silent_on_look_alikes(record):
    assert not findings_of(SLUG, record)


@pytest.mark.parametrize(("cosine", "fires"), [(0.48, True), (0.52, False)])
def test_boundary_of_the_signal(cosine, fires):
    assert bool(findings_of(SLUG, noisy(cosine=cosine))) is fires


@pytest.mark.parametrize(("height", "fires"), [(0.018, False), (0.022, True)])
def test_boundary_of_the_swing(height, fires):
    loss = 0.5 + height / 2 * np.tile([1, -1], 10)
    assert bool(findings_of(SLUG, noisy(loss))) is fires


@pytest.mark.parametrize(("batch_size", "fires"), [(49, True), (51, False)])
def test_boundary_of_the_batch_share(batch_size, fires):
    assert bool(findings_of(SLUG, noisy(batch_size=batch_size))) is fires


def test_not_applicable_to_full_batches():
    assert "sees all examples" in outcome_of(SLUG, noisy(steps_per_epoch=1)).reason
