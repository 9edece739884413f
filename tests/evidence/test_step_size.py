import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotRecorded
from lossdoctor.evidence.step_size import StepSize, rounded
from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import history_record, mlp, run_record, trained, variables


def sizes(record):
    return StepSize.from_record(record)


def test_needs_recorded_updates_and_a_rate():
    for record in (RunRecord(source="run"), history_record(loss=[1.0])):
        with pytest.raises(NotRecorded, match="gradient norms"):
            sizes(record)
    with pytest.raises(NotRecorded, match="learning rate"):
        sizes(trained([1.0], learning_rate=0.0))


def test_ratio_is_taken_against_the_weights_before_the_step():
    record = trained([1.0, 1.0])
    weights = np.full((32, 4), 10.0)
    weights[5:] = 1000.0
    updates = np.full((32, 4), 1.0)
    updates[5] = 990.0
    series = variables(mlp(), count=32, weight_norm=weights, update_norm=updates)
    found = sizes(run_record(record, variables=series))
    assert found.largest[5] == pytest.approx(99.0)
    assert found.largest[4] == pytest.approx(0.1)


def test_zero_initialized_kernels_are_measured_against_a_glorot_draw():
    record = trained([1.0, 1.0])
    series = variables(mlp(), count=32, weight_norm=1e-6, update_norm=0.1)
    glorot = np.sqrt(25 * 1 * 2 / (25 + 1))
    assert sizes(run_record(record, variables=series)).late == pytest.approx(0.1 / glorot)


def test_summaries_of_the_run():
    ratio = np.r_[0.04, 2.0, np.full(14, 0.1), np.full(16, 1e-3)]
    found = sizes(trained([1.0, 1.0], ratio=ratio))
    assert found.first == pytest.approx(0.04)
    assert found.peak == pytest.approx(2.0)
    assert found.late == pytest.approx(1e-3)
    assert found.first_above(1.0) == (0, 1)
    assert found.first_above(9.0) is None


def test_updates_that_are_not_finite_do_not_count():
    record = trained([1.0, 1.0], ratio=0.1)
    record.variables.update_norm[20:] = np.nan
    record.variables.update_norm[10] = np.inf
    assert sizes(record).peak == pytest.approx(0.1)


def test_sampled_steps_count_for_as_many_as_they_stand_for():
    # 16 quick steps at the start, then every 100th of 1,000 slow ones.
    record = trained([1.0], ratio=np.r_[np.full(6, 0.1), np.full(10, 1e-3)])
    step = np.r_[np.arange(6), 6 + 100 * np.arange(10)]
    record = run_record(
        record,
        steps=dataclasses.replace(record.steps, step=step, total_steps=1006),
        variables=dataclasses.replace(record.variables, step=step),
    )
    assert sizes(record).typical == pytest.approx(1e-3)
    assert sizes(record).travel == pytest.approx(6 * 0.1 + 1000 * 1e-3)


def test_cut_short_means_few_steps_that_would_lead_on():
    assert sizes(trained([1.0], ratio=1e-3)).cut_short(1.0)
    assert not sizes(trained([1.0], ratio=0.2)).cut_short(1.0)
    assert not sizes(trained(np.ones(100), ratio=1e-5)).cut_short(1.0)
    assert not sizes(trained([1.0], ratio=1e-3)).cut_short(1e6), "gradients vanish"


def test_headroom_is_the_largest_stable_rate_over_the_present_one():
    record = trained([1.0], learning_rate=0.1)
    assert with_curvature(record, 2.0).headroom == pytest.approx(2 / 0.2)
    assert with_curvature(record, np.nan).headroom is None


def with_curvature(record, value):
    curvature = np.full(len(record.variables.step), value)
    curvature[0] = np.nan
    series = dataclasses.replace(record.variables, curvature=curvature)
    return sizes(run_record(record, variables=series))


def test_a_lower_rate_by_the_first_update():
    adam = OptimizerRecord(class_name="Adam", learning_rate=1.0, beta_1=0.9)
    proposed = sizes(trained([1.0], ratio=4.0, learning_rate=1.0, optimizer=adam)).lower_rate()
    assert (proposed.basis, proposed.rate) == ("update", 0.002)
    assert proposed.largest_stable is None


def test_a_lower_rate_by_curvature_where_that_allows_less():
    plain = with_curvature(trained([1.0], ratio=1.0, learning_rate=1.0), 200.0).lower_rate()
    assert (plain.basis, plain.rate, plain.largest_stable) == ("curvature", 0.005, 0.01)
    heavy = OptimizerRecord(class_name="SGD", learning_rate=1.0, momentum=0.9)
    record = trained([1.0], ratio=1.0, learning_rate=1.0, optimizer=heavy)
    assert with_curvature(record, 200.0).largest_stable_rate == pytest.approx(3.8 / 200)


def test_a_lower_rate_by_growth():
    found = with_curvature(trained([1.0], ratio=1.0, learning_rate=1.0), np.nan)
    # r = (rate x λ - 1)², here λ = 301
    proposed = found.lower_rate(growth=300.0**2)
    assert (proposed.basis, proposed.value, proposed.rate) == ("growth", 301.0, 0.002)


def test_a_tenth_where_nothing_tells_more():
    proposed = sizes(trained([1.0], ratio=1e-3, learning_rate=1.0)).lower_rate()
    assert (proposed.basis, proposed.rate) == ("decades", 0.1)


def test_a_higher_rate():
    proposed = sizes(trained([1.0], ratio=1e-5, learning_rate=1e-5)).raise_rate()
    assert (proposed.basis, proposed.rate) == ("update", 0.02)
    proposed = sizes(trained([1.0], ratio=0.02, learning_rate=0.01)).raise_rate()
    assert (proposed.basis, proposed.rate) == ("decades", 0.1)


@pytest.mark.parametrize(
    ("rate", "round_rate"), [(0.0499, 0.02), (0.05, 0.05), (3.0, 2.0), (1e-5, 1e-5), (9.9, 5.0)]
)
def test_rounded(rate, round_rate):
    assert rounded(rate) == round_rate
