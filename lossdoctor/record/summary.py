"""Reduce arrays of examples to the summaries a record may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.run import TensorSummary

MAX_FEATURES = 4096
MAX_VALUES = 256
MAX_ROWS_LISTED = 20
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_SAMPLE_ENTRIES = 2**20
_MAD_TO_STD = 1.4826
_OUTLIER_SIGMAS = 10.0


def summarize(
    array: NDArray[Any],
    *,
    name: str = "",
    dtype: str | None = None,
    rows: int | None = None,
    feature_names: tuple[str, ...] = (),
    row_order_known: bool = True,
    sample_seed: int = 0,
) -> TensorSummary:
    """Summarize `array`, whose first axis counts examples.

    Extremes, means, finiteness and per-feature statistics are exact over `array`; quantiles,
    distinct values and row statistics use a seeded sample of rows holding at most a million
    entries.

    Args:
        array: Shape `(rows, ...)`; any dtype. Strings and objects get a summary without numbers.
        name: Name of the tensor.
        dtype: The dtype to report, where the data was converted before it came here.
        rows: How many examples there are in all, when `array` is itself a sample of them.
        feature_names: Names of the last axis' entries.
        row_order_known: Whether row indices mean something to the user.
        sample_seed: Seed of the row sample.
    """
    array = np.asarray(array)
    if array.ndim == 0:
        array = array.reshape(1)
    shape = tuple(array.shape[1:])
    dtype = dtype or str(array.dtype)
    total = rows if rows is not None else len(array)
    if array.dtype.kind not in "biuf":
        return _non_numeric(array, name, total, shape, feature_names)
    array = _wide(array)
    per_feature = array.reshape(-1, shape[-1] if shape else 1)
    finite = np.isfinite(array)
    all_finite = bool(finite.all())
    bad_rows = (
        np.empty(0, dtype=np.int64)
        if all_finite
        else np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1))
    )
    clean = array[finite] if not all_finite else array.reshape(-1)
    statistics: dict[str, Any] = (
        _feature_statistics(per_feature) if per_feature.shape[1] <= MAX_FEATURES else {}
    )
    return TensorSummary(
        name=name,
        shape=shape,
        dtype=dtype,
        rows=total,
        **_moments(clean),
        nan_count=int(np.isnan(array).sum()) if not all_finite else 0,
        inf_count=int(np.isinf(array).sum()) if not all_finite else 0,
        zero_fraction=float(np.mean(clean == 0)) if clean.size else 0.0,
        nonfinite_rows=tuple(int(i) for i in bad_rows[:MAX_ROWS_LISTED]) if row_order_known else (),
        nonfinite_row_count=len(bad_rows),
        feature_names=feature_names,
        **statistics,
        **sample_statistics(array, sample_seed),
    )


def _non_numeric(
    array: NDArray[Any],
    name: str,
    rows: int,
    shape: tuple[int, ...],
    feature_names: tuple[str, ...],
) -> TensorSummary:
    """Of entries that are numbers as text and entries that are words, the words count as bad."""
    texts = np.vectorize(str, otypes=[object])(array[:10_000])
    words = np.vectorize(_is_word, otypes=[bool])(texts)
    distinct = dict.fromkeys(texts.reshape(-1).tolist())
    shown = dict.fromkeys(texts[words].tolist()) or distinct
    columns = words.reshape(-1, shape[-1] if shape else 1)
    return TensorSummary(
        name=name,
        shape=shape,
        dtype="string" if array.dtype.kind in "SU" else str(array.dtype),
        rows=rows,
        sampled_rows=min(len(array), 10_000),
        mean=float("nan"),
        std=float("nan"),
        min=float("nan"),
        max=float("nan"),
        abs_max=float("nan"),
        distinct=len(distinct),
        feature_nonfinite=columns.sum(axis=0) if columns.shape[1] <= MAX_FEATURES else np.empty(0),
        feature_names=feature_names,
        strings=tuple(shown)[:MAX_ROWS_LISTED],
    )


def _is_word(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    """`array` in a type whose sums neither wrap around nor overflow."""
    narrow = array.dtype == np.float16 or array.dtype.kind in "biu"
    return array.astype(np.float64) if narrow else array


def _sample_rows(array: NDArray[Any], seed: int) -> NDArray[Any]:
    width = max(1, array[0].size) if len(array) else 1
    keep = max(1, _SAMPLE_ENTRIES // width)
    if len(array) <= keep:
        return array
    chosen = np.random.default_rng(seed).choice(len(array), size=keep, replace=False)
    return array[np.sort(chosen)]


def _moments(clean: NDArray[Any]) -> dict[str, Any]:
    if not clean.size:
        return dict.fromkeys(("mean", "std", "min", "max", "abs_max"), float("nan"))
    low, high = float(clean.min()), float(clean.max())
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(clean.mean(dtype=np.float64))
        std = float(clean.std(dtype=np.float64))
    return {"mean": mean, "std": std, "min": low, "max": high, "abs_max": max(-low, high)}


def _feature_statistics(columns: NDArray[Any]) -> dict[str, Any]:
    finite = np.isfinite(columns)
    counts = finite.sum(axis=0)
    safe = np.maximum(counts, 1)
    values = columns if finite.all() else np.where(finite, columns, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.sum(axis=0, dtype=np.float64) / safe
        # Centered on the mean before squaring: sums of raw squares lose a small spread that sits
        # on a large offset.
        centered = np.where(finite, values - mean, 0.0)
        variance = np.square(centered, dtype=np.float64).sum(axis=0) / safe
    low = np.where(finite, columns, np.inf).min(axis=0, initial=np.inf)
    high = np.where(finite, columns, -np.inf).max(axis=0, initial=-np.inf)
    zeros = ((columns == 0) & finite).sum(axis=0) / safe
    return {
        "feature_mean": mean,
        "feature_std": np.sqrt(variance),
        "feature_min": np.where(counts > 0, low, np.nan),
        "feature_max": np.where(counts > 0, high, np.nan),
        "feature_nonfinite": (len(columns) - counts).astype(np.int64),
        "feature_zero_fraction": zeros,
    }


def sample_statistics(array: NDArray[Any], seed: int = 0) -> dict[str, Any]:
    """Fields of a `TensorSummary` that rest on a seeded sample of the rows of `array`, numbers of
    shape `(rows, ...)`: quantiles, distinct values and statistics of rows."""
    sample = _wide(_sample_rows(array, seed))
    found: dict[str, Any] = {"sampled_rows": len(sample)}
    mask = np.isfinite(sample)
    finite = sample.reshape(-1) if mask.all() else sample[mask]
    if not finite.size:
        return found
    found |= _order_statistics(finite)
    found |= {
        "integral": _integral(finite),
        "skewness": _skewness(finite),
        "outlier_fraction": _outlier_fraction(sample),
    }
    rows = sample.reshape(len(sample), -1)
    usable = rows[np.isfinite(rows).all(axis=1)]
    if len(usable):
        with np.errstate(over="ignore", invalid="ignore"):
            found["row_spread"] = float(usable.std(axis=0, dtype=np.float64).mean())
    found["duplicate_fraction"] = _duplicate_fraction(rows)
    if sample.ndim == 2 and sample.shape[1] <= MAX_FEATURES and len(usable):
        ends = usable.min(axis=0), usable.max(axis=0)
        found["feature_end_shares"] = np.stack([(usable == end).mean(axis=0) for end in ends])
    if sample.ndim in (2, 3):
        steps = sample.reshape(*sample.shape[:2], -1)
        found["trailing_zeros"] = _trailing(steps, 0)
        filler = _filler(steps)
        if filler is not None:
            found |= {"filler": filler, "trailing_fill": _trailing(steps, filler)}
    if sample.ndim >= 2 and 2 <= sample.shape[-1] <= MAX_FEATURES:
        found |= _row_statistics(sample.reshape(-1, sample.shape[-1]))
    return found


def _order_statistics(finite: NDArray[Any]) -> dict[str, Any]:
    ordered = np.sort(finite)
    found: dict[str, Any] = {"distinct": 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))}
    if found["distinct"] <= MAX_VALUES:
        distinct, counts = np.unique(ordered, return_counts=True)
        found["values"], found["value_counts"] = distinct.astype(np.float64), counts
    quantiles = np.quantile(ordered, QUANTILES, overwrite_input=True)
    return found | {"quantiles": tuple(float(q) for q in quantiles)}


def _integral(finite: NDArray[Any]) -> bool:
    deviation = np.round(finite)
    np.subtract(finite, deviation, out=deviation)
    return bool(max(-deviation.min(), deviation.max()) <= 1e-6)


def _row_statistics(rows: NDArray[Any]) -> dict[str, Any]:
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return {}
    sums = rows.sum(axis=1, dtype=np.float64)
    one_hot = ((rows == 0) | (rows == 1)).all(axis=1) & (sums == 1)
    found = {
        "row_sum_min": float(sums.min()),
        "row_sum_max": float(sums.max()),
        "one_hot_fraction": float(one_hot.mean()),
        "argmax_counts": np.bincount(rows.argmax(axis=1), minlength=rows.shape[1]),
    }
    if rows.min() >= 0 and np.allclose(sums, 1.0, atol=1e-3):
        logs = np.log(np.where(rows > 0, rows, 1.0))
        found["row_entropy"] = float(-(rows * logs).sum(axis=1).mean())
    return found


def _duplicate_fraction(rows: NDArray[Any]) -> float:
    if len(rows) < 2:
        return 0.0
    contiguous = np.ascontiguousarray(rows)
    keys = contiguous.view(np.dtype((np.void, contiguous.dtype.itemsize * contiguous.shape[1])))
    return 1.0 - len(np.unique(keys)) / len(rows)


def _filler(steps: NDArray[Any]) -> float | None:
    """The value, if not 0, that all entries of the last step have in more than half of the rows."""
    last = steps[:, -1]
    uniform = last[(last == last[:, :1]).all(axis=1), 0]
    values, counts = np.unique(uniform, return_counts=True)
    if not len(values) or counts.max() <= len(steps) / 2:
        return None
    return float(values[counts.argmax()]) or None


def _trailing(steps: NDArray[Any], value: float) -> float:
    """Mean number of steps at the end of a row that hold nothing but `value`."""
    filled = np.asarray((steps == value).all(axis=2))
    trailing = np.logical_and.accumulate(filled[:, ::-1], axis=1)
    return float(trailing.sum(axis=1).mean())


def _outlier_fraction(sample: NDArray[Any]) -> float:
    columns = sample.reshape(-1, sample.shape[-1] if sample.ndim > 1 else 1)
    if columns.shape[1] > MAX_FEATURES:
        columns = columns.reshape(-1, 1)
    columns = np.where(np.isfinite(columns), columns, np.nan)
    with np.errstate(invalid="ignore"):
        center = np.nanmedian(columns, axis=0)
        deviation = np.abs(columns - center)
        scale = _MAD_TO_STD * np.nanmedian(deviation, axis=0)
    measurable = scale > 0
    if not measurable.any():
        return 0.0
    return float(np.mean(deviation[:, measurable] > _OUTLIER_SIGMAS * scale[measurable]))


def _skewness(values: NDArray[Any]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        centered = values - values.dtype.type(values.mean(dtype=np.float64))
        spread = float(np.sqrt(np.mean(np.square(centered))))
        if not np.isfinite(spread) or spread == 0:
            return 0.0
        centered /= spread
        return float(np.vdot(np.square(centered), centered)) / len(values)
