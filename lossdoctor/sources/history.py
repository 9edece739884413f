"""Records from per-epoch logs: a Keras `History`, a dict of lists, the rows of a log file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.run import FitRecord, History, RunRecord
from lossdoctor.sources._error import SourceError

_LEARNING_RATE = ("learning_rate", "lr")
# How other training loops and loggers name the two sides; Keras has no prefix and "val_".
_PREFIXES = {"train_": "", "training_": "", "valid_": "val_", "validation_": "val_"}


def read_history(source: Any) -> RunRecord:
    """The record of a Keras `History` callback."""
    params = getattr(source, "params", None) or {}
    return read_logs(
        source.history,
        epochs=list(source.epoch) or None,
        fit_params={"epochs": params.get("epochs"), "steps_per_epoch": params.get("steps")},
    )


def read_logs(
    logs: Mapping[str, Any],
    *,
    epochs: Sequence[int] | None = None,
    fit_params: Mapping[str, Any] | None = None,
    not_recorded: Mapping[str, str] | None = None,
) -> RunRecord:
    """The record of per-epoch logs.

    Args:
        logs: For each log its values, one per epoch. Logs that are no numbers are left out.
        epochs: The epochs' numbers, counted from 0.
        fit_params: What is known of the call of `fit`, as fields of `FitRecord`.
        not_recorded: Reasons to keep in the record.
    """
    series = {
        _keras_name(name, logs): values
        for name, value in logs.items()
        if name != "epoch" and (values := _numbers(value)) is not None
    }
    if not any(len(values) for values in series.values()):
        raise SourceError(
            "There are no numbers in it. A history maps the name of each log to its values, one "
            "per epoch, as in {'loss': [0.9, 0.5], 'val_loss': [1.0, 0.8]}."
        )
    length = max(len(values) for values in series.values())
    series = {name: _aligned(name, values, length) for name, values in series.items()}
    rate = next((series.pop(name) for name in _LEARNING_RATE if name in series), np.empty(0))
    numbers = np.arange(length) if epochs is None or len(epochs) != length else np.asarray(epochs)
    return RunRecord(
        source="history",
        history=History(epochs=numbers.astype(np.int64), logs=series, learning_rate=rate),
        fit=FitRecord(
            **dict(fit_params or {}),
            completed_epochs=length,
            has_validation=any(name.startswith("val_") for name in series),
        ),
        not_recorded=dict(not_recorded or {}),
    )


def read_rows(rows: Iterable[Mapping[str, Any]], **details: Any) -> RunRecord:
    """The record of logs given epoch by epoch; a log absent in an epoch is NaN there."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return read_logs({n: [row.get(n) for row in rows] for n in names}, **details)


def _keras_name(name: str, present: Mapping[str, Any]) -> str:
    for prefix, keras_prefix in _PREFIXES.items():
        renamed = keras_prefix + name.removeprefix(prefix)
        if name.startswith(prefix) and renamed not in present:
            return renamed
    return name


def _numbers(values: Any) -> NDArray[np.float64] | None:
    """`values` as floats, absent ones NaN; None if they are not one number per epoch."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        return None
    try:
        found = [np.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return np.asarray(found, dtype=np.float64)


def _aligned(name: str, values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    if len(values) == length:
        return values
    # fit(validation_freq=k) logs validation in every k-th epoch only, and keeps no gaps.
    every = length // len(values) if len(values) else 0
    if not name.startswith("val_") or every < 2 or length // every != len(values):
        raise SourceError(
            f"The history's logs differ in length: {name!r} has {len(values)} values where the "
            f"longest log has {length}. Give each log one value per epoch, float('nan') where "
            "there was none."
        )
    spread = np.full(length, np.nan)
    spread[every - 1 :: every] = values
    return spread
