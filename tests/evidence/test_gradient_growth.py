import numpy as np
import pytest

from lossdoctor.evidence import NotRecorded
from lossdoctor.evidence.gradient_growth import GradientGrowth
from lossdoctor.record.run import RunRecord
from tests.records import mlp, run_record, steps, trained, with_weights


def growth(norms, loss=None) -> GradientGrowth:
    norms = np.asarray(norms, dtype=float)
    loss = np.ones(len(norms)) if loss is None else loss
    series = steps(loss, gradient_norm=norms, gradients_finite=np.isfinite(norms))
    return GradientGrowth.from_record(run_record(trained([1.0] * 4), steps=series))


def test_late_and_early_are_medians_so_that_a_spike_is_neither():
    norms = np.ones(100)
    norms[[3, 90]] = 1e6
    assert growth(norms).growth == 1.0


def test_growth_to_the_end_and_its_onset():
    norms = np.concatenate([np.ones(60), np.full(40, 500.0)])
    found = growth(norms)
    assert found.growth == 500
    assert found.onset(100).step == 60
    assert found.onset(100).epoch == 60 // 16


def test_a_run_that_became_non_finite_is_judged_by_its_last_finite_steps():
    found = growth([1.0, 10.0, 1e5, np.inf, np.nan, np.nan])
    assert found.ended_non_finite
    assert found.growth == 1e5
    assert len(found.norm) == 3


def test_skipped_steps_of_loss_scaling_are_neither_large_nor_the_end():
    norms = np.ones(32)
    norms[5] = np.inf
    series = steps(
        np.ones(32),
        gradient_norm=norms,
        gradients_finite=np.isfinite(norms),
        skipped=~np.isfinite(norms),
    )
    found = GradientGrowth.from_record(run_record(trained([1.0] * 2), steps=series))
    assert not found.ended_non_finite
    assert len(found.norm) == 31


def test_the_first_norm_is_measured_against_the_initial_weights():
    found = growth(np.full(20, 70.0))
    shapes = [(20, 25), (25, 1)]
    expected = np.sqrt(sum(a * b * 2 / (a + b) for a, b in shapes))
    assert found.first_ratio == pytest.approx(70 / expected)


def test_kernels_that_begin_at_zero_count_as_a_glorot_draw():
    zeroed = trained([1.0] * 4, model=with_weights(mlp(), "kernel", std=0.0, abs_max=0.0))
    fresh = trained([1.0] * 4)
    ratios = [GradientGrowth.from_record(record).first_ratio for record in (zeroed, fresh)]
    assert ratios[0] == pytest.approx(ratios[1])


def test_not_recorded_without_finite_steps():
    with pytest.raises(NotRecorded):
        growth([np.nan, np.nan], loss=[np.nan, np.nan])
    with pytest.raises(NotRecorded):
        GradientGrowth.from_record(RunRecord(source="history"))
