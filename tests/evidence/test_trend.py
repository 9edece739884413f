import numpy as np
import pytest

from lossdoctor.evidence._trend import MOST_POINTS, NO_TREND, rolling_median, thinned, trend


def test_slope_and_direction_of_a_noisy_line():
    x = np.arange(60.0)
    found = trend(x, 5 - 0.1 * x + np.random.default_rng(0).normal(0, 0.2, 60))
    assert found.slope == pytest.approx(-0.1, abs=0.01)
    assert found.falls(0.01)
    assert not found.rises(0.01)


def test_outliers_and_gaps_do_not_matter():
    y = np.arange(40.0)
    y[7], y[20] = 1e6, np.nan
    assert trend(np.arange(40), y).slope == pytest.approx(1.0, abs=0.05)


def test_no_trend_in_noise_in_constants_and_in_few_points():
    noise = np.random.default_rng(1).normal(size=50)
    assert not trend(np.arange(50), noise).rises(0.01)
    assert not trend(np.arange(50), noise).falls(0.01)
    assert trend(np.arange(9), np.ones(9)) is NO_TREND
    assert trend([0, 1, 2], [0, 1, 2]) is NO_TREND


def test_long_series_are_thinned_without_changing_the_slope():
    x = np.arange(30_000.0)
    xs, ys = thinned(x, 2 * x)
    assert len(xs) == len(ys) == MOST_POINTS
    assert trend(x, 2 * x).slope == pytest.approx(2.0)


def test_rolling_median():
    assert rolling_median([1, 9, 2, 3], 3).tolist() == [2, 3]
    assert rolling_median([1, 3], 5).tolist() == [2]
