"""Robust trends of noisy series, at a cost that does not grow with their length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

MOST_POINTS = 256
FEWEST_POINTS = 4


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Direction of a series.

    `tau` is Kendall's rank correlation with time (Mann-Kendall trend test), `p_value` its
    two-sided significance, `slope` the Theil-Sen slope per unit of x.
    """

    tau: float
    p_value: float
    slope: float

    def rises(self, significance: float) -> bool:
        """Whether the series goes up, beyond chance."""
        return self.tau > 0 and self.p_value < significance

    def falls(self, significance: float) -> bool:
        """Whether the series goes down, beyond chance."""
        return self.tau < 0 and self.p_value < significance


NO_TREND = Trend(tau=0.0, p_value=1.0, slope=0.0)


def trend(x: ArrayLike, y: ArrayLike) -> Trend:
    """The trend of the finite points of `y` over `x`; none for fewer than four of them."""
    xs, ys = thinned(x, y)
    if len(ys) < FEWEST_POINTS or np.ptp(ys) == 0:
        return NO_TREND
    rank = stats.kendalltau(xs, ys)
    return Trend(
        tau=float(rank.statistic),
        p_value=float(rank.pvalue),
        slope=float(stats.theilslopes(ys, xs).slope),
    )


def thinned(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The finite points, reduced to medians of consecutive blocks where there are many."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(ys)
    xs, ys = xs[keep], ys[keep]
    if len(ys) <= MOST_POINTS:
        return xs, ys
    blocks = np.array_split(np.arange(len(ys)), MOST_POINTS)
    return (
        np.array([np.median(xs[block]) for block in blocks]),
        np.array([np.median(ys[block]) for block in blocks]),
    )


def rolling_median(values: ArrayLike, width: int) -> NDArray[np.float64]:
    """The median of every `width` consecutive values (all of them if there are fewer)."""
    series = np.asarray(values, dtype=np.float64)
    width = max(1, min(width, len(series)))
    windows = np.lib.stride_tricks.sliding_window_view(series, width)
    return np.asarray(np.median(windows, axis=-1), dtype=np.float64)
