import math

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.weight_growth import WeightGrowth
from lossdoctor.record.run import RunRecord
from tests.records import mlp, run_record, steps, trained, variables, with_weights

MODEL = mlp()
GLOROT = math.sqrt(20 * 25 * 2 / 45)


def growth(norms, **fields) -> WeightGrowth:
    """The first kernel's norms relative to its initial one; everything else stays as it is."""
    matrix = np.ones((len(norms), 4))
    matrix[:, 0] = GLOROT * np.asarray(norms)
    record = run_record(
        trained([1.0] * 4), variables=variables(MODEL, count=len(norms), weight_norm=matrix)
    )
    return WeightGrowth.from_record(run_record(record, **fields))


def test_growth_since_the_start_and_since_half_time():
    kernel = growth(np.linspace(1, 21, 41)).kernels[0]
    assert kernel.growth == pytest.approx(21)
    assert kernel.recent == pytest.approx(21 / 11)


def test_growth_that_came_to_rest_is_not_above():
    rested = growth([1.0] * 10 + [50.0] * 30)
    assert rested.kernels[0].growth == pytest.approx(50)
    assert rested.above(10, 1.5) == ()
    assert growth(np.geomspace(1, 50, 40)).above(10, 1.5)


def test_biases_do_not_count():
    assert [kernel.path for kernel in growth([1.0] * 8).kernels] == [
        "dense/kernel",
        "dense_1/kernel",
    ]


def test_a_kernel_that_began_at_zero_counts_as_a_glorot_draw():
    model = with_weights(MODEL, "kernel", std=0.0, abs_max=0.0)
    record = run_record(trained([1.0] * 4, model=model), variables=variables(model))
    assert WeightGrowth.from_record(record).kernels[0].initial == pytest.approx(GLOROT)


def test_only_finite_steps_count():
    norms, losses = [*np.geomspace(1, 1e5, 10), np.inf], [*np.geomspace(1, 1e9, 10), np.nan]
    found = growth(norms, steps=steps(losses))
    assert found.ended_non_finite
    assert found.kernels[0].growth == pytest.approx(1e5)


def test_not_recorded_or_never_finite():
    with pytest.raises(NotRecorded):
        WeightGrowth.from_record(RunRecord(source="history"))
    with pytest.raises(NotApplicable):
        growth([1.0] * 4, steps=steps([np.nan] * 4))
