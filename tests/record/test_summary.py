"""Summaries of arrays and of streams agree with NumPy and with each other."""

import numpy as np
import pytest

from lossdoctor.record.stream import SAMPLE_ROWS, DataStream
from lossdoctor.record.summary import summarize

RNG = np.random.default_rng(0)


def streamed(x, y, batch=37):
    stream = DataStream(seed=0)
    for start in range(0, len(y), batch):
        stream.update([x[start : start + batch]], [y[start : start + batch]])
    return stream.record(row_order_known=True)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 3), (6, 6, 2)])
def test_a_stream_equals_the_whole_array(shape):
    x = RNG.normal(3.0, 2.0, size=(500, *shape)) * 1e3
    record = streamed(x, np.arange(500) % 3)
    whole, parts = summarize(x), record.inputs[0]
    for name in ("mean", "std", "min", "max", "abs_max", "zero_fraction"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    for name in ("feature_mean", "feature_std", "feature_min", "feature_max"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)
    assert (parts.rows, parts.shape) == (500, shape)
    assert record.targets[0].integral
    np.testing.assert_array_equal(record.targets[0].values, [0, 1, 2])
    np.testing.assert_array_equal(record.targets[0].value_counts, [167, 167, 166])


def test_a_small_spread_on_a_large_offset_is_not_lost():
    x = 1e6 + RNG.normal(size=(1000, 2))
    np.testing.assert_allclose(streamed(x, x[:, 0]).inputs[0].feature_std, x.std(axis=0), rtol=1e-6)


def test_non_finite_entries_are_located_and_left_out_of_the_statistics():
    x = RNG.normal(size=(200, 3))
    x[[5, 150], 1] = np.nan
    x[7, 2] = np.inf
    for summary in (summarize(x), streamed(x, x[:, 0]).inputs[0]):
        assert (summary.nan_count, summary.inf_count) == (2, 1)
        assert summary.nonfinite_rows == (5, 7, 150)
        np.testing.assert_array_equal(summary.feature_nonfinite, [0, 2, 1])
        assert np.isfinite([summary.mean, summary.std, summary.max]).all()


def test_row_statistics_tell_one_hot_from_multi_label_and_soft_labels():
    one_hot = np.eye(3)[RNG.integers(0, 3, 90)]
    assert summarize(one_hot).one_hot_fraction == 1.0
    assert summarize(one_hot).row_entropy == pytest.approx(0.0)
    soft = np.full((10, 4), 0.25)
    assert summarize(soft).row_entropy == pytest.approx(np.log(4), rel=1e-6)
    multi = np.array([[1, 1, 0], [0, 0, 0]])
    assert summarize(multi).one_hot_fraction == 0.0
    assert summarize(multi).row_sum_max == 2.0


def test_the_sample_is_bounded_seeded_and_covers_the_whole_stream():
    rows = 4 * SAMPLE_ROWS
    a, b = (DataStream(seed=5) for _ in range(2))
    for stream in (a, b):
        for start in range(0, rows, 256):
            ids = np.arange(start, start + 256)
            stream.update([ids[:, None].astype(float)], [ids])
    (sample,), (targets,) = a.sampled_inputs, a.sampled_targets
    assert len(sample) == SAMPLE_ROWS
    np.testing.assert_array_equal(sample[:, 0], targets)
    np.testing.assert_array_equal(sample, b.sampled_inputs[0])
    assert abs(sample.mean() / rows - 0.5) < 0.03


def test_sequences_of_varying_length_are_summarized_without_a_sample():
    stream = DataStream()
    for length in (3, 5):
        stream.update([RNG.normal(size=(8, length, 2))], [np.zeros(8)])
    assert stream.sampled_inputs == [None]
    assert stream.record().inputs[0].rows == 16


@pytest.mark.parametrize("values", [["a", "b"], [None, 1]])
def test_non_numeric_arrays_get_a_summary_without_numbers(values):
    summary = summarize(np.array(values, dtype=object))
    assert np.isnan(summary.mean)
    assert summary.distinct == 2


def test_outliers_and_skewness():
    x = RNG.normal(size=(1000, 1))
    assert summarize(x).outlier_fraction == 0.0
    x[:10] = 1e4
    assert summarize(x).outlier_fraction == pytest.approx(0.01)
    assert summarize(np.exp(RNG.normal(size=2000))).skewness > 2


def test_trailing_zeros_are_counted_in_whole_steps():
    ids = np.array([[3, 1, 0, 0], [3, 0, 2, 0]])
    assert summarize(ids, name="x").trailing_zeros == 1.5
    series = np.stack([ids, np.zeros_like(ids)], axis=2)
    assert summarize(series, name="x").trailing_zeros == 1.5
    assert summarize(ids[:, 0], name="x").trailing_zeros == 0


def test_another_value_that_most_rows_are_filled_up_with():
    series = RNG.normal(size=(10, 6, 2))
    assert summarize(series).filler is None
    series[:6, 3:] = -1
    found = summarize(series)
    assert found.filler == -1
    assert found.trailing_fill == 1.8
    assert found.trailing_zeros == 0
    assert summarize(np.where(series == -1, 0, series)).filler is None
