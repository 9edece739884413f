"""Summaries of data that arrives batch by batch, in bounded memory.

Moments, extremes and finiteness are exact over everything seen; what needs the rows themselves
(quantiles, distinct values, neighbors) rests on a seeded reservoir sample, which never leaves
memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.batch_labels import BatchLabels
from lossdoctor.record.run import DataRecord, TensorSummary
from lossdoctor.record.summary import MAX_FEATURES, MAX_ROWS_LISTED, sample_statistics, summarize

SAMPLE_ROWS = 2048
_SAMPLE_BYTES = 32 * 2**20
_CHUNK_ROWS, _CHUNK_BYTES = 1024, 2**18
_MOST_CLASSES = 50


class TensorStream:
    """Exact statistics of one tensor over batches."""

    def __init__(self, name: str, feature_names: tuple[str, ...] = ()) -> None:
        self.name = name
        self.feature_names = feature_names
        self.rows = 0
        self.dtype = ""
        self.shape: tuple[int, ...] = ()
        self._seen = 0
        self._count: Any = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._min: Any = np.inf
        self._max: Any = -np.inf
        self._zeros: Any = 0
        self._nan = self._inf = 0
        self._bad_rows: list[int] = []
        self._bad_row_count = 0
        self._integral = True
        self._numeric = True

    def update(self, batch: NDArray[Any]) -> None:
        """Take in the next batch, shape `(rows, ...)`."""
        self.dtype = self.dtype or str(batch.dtype)
        self.shape = tuple(batch.shape[1:])
        if batch.dtype.kind not in "biuf":
            self._numeric = False
            self.rows += len(batch)
            return
        width = batch.shape[-1] if batch.ndim > 1 else 1
        columns = batch.reshape(-1, width if width <= MAX_FEATURES else 1)
        columns = columns.astype(np.float64, copy=False)
        if len(columns):
            self._merge(columns, len(batch))
        self.rows += len(batch)

    def _merge(self, columns: NDArray[Any], rows: int) -> None:
        # A finite sum proves every entry finite in one pass over the batch.
        with np.errstate(over="ignore", invalid="ignore"):
            clean = bool(np.isfinite(columns.sum()))
        if clean:
            finite, values = None, columns
            count: Any = np.full(columns.shape[1], len(columns))
        else:
            finite = np.isfinite(columns)
            values = np.where(finite, columns, 0.0)
            count = finite.sum(axis=0)
            self._note_non_finite(columns, finite, rows)
        safe = np.maximum(count, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = values.sum(axis=0) / safe
            centered = values - mean if finite is None else np.where(finite, values - mean, 0.0)
            squares = np.einsum("ij,ij->j", centered, centered)
            total = self._count + count
            delta = mean - self._mean
            share = count / np.maximum(total, 1)
            # Chan, Golub & LeVeque (1979): merging means and squared deviations of two parts.
            self._squares = self._squares + squares + delta**2 * self._count * share
            self._mean = self._mean + delta * share
        self._count = total
        self._seen += len(columns)
        low = values if finite is None else np.where(finite, columns, np.inf)
        high = values if finite is None else np.where(finite, columns, -np.inf)
        self._min = np.minimum(self._min, low.min(axis=0))
        self._max = np.maximum(self._max, high.max(axis=0))
        zero = columns == 0
        if zero.any():
            self._zeros = self._zeros + zero.sum(axis=0)
        if self._integral:
            self._integral = bool(np.all(np.abs(values - np.round(values)) <= 1e-6))

    def _note_non_finite(self, columns: NDArray[Any], finite: NDArray[Any], rows: int) -> None:
        self._nan += int(np.isnan(columns).sum())
        self._inf += int(np.isinf(columns).sum())
        bad = np.flatnonzero(~finite.reshape(rows, -1).all(axis=1))
        self._bad_row_count += len(bad)
        room = MAX_ROWS_LISTED - len(self._bad_rows)
        self._bad_rows += [self.rows + int(i) for i in bad[:room]]

    @property
    def has_non_finite(self) -> bool:
        """Whether any entry seen was NaN or infinite."""
        return bool(self._nan or self._inf)

    def summary(self, sample: NDArray[Any] | None, *, row_order_known: bool) -> TensorSummary:
        """The summary of everything seen, its sampled statistics from `sample`."""
        if sample is None or not len(sample):
            sample = np.zeros((0, *self.shape))
        if not self._numeric or not np.any(self._count):
            base = summarize(sample, name=self.name, dtype=self.dtype, rows=self.rows)
            return dataclasses.replace(base, feature_names=self.feature_names, shape=self.shape)
        count = np.maximum(self._count, 1)
        total = float(np.sum(self._count))
        mean = float(np.sum(self._mean * self._count) / total)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = self._squares + self._count * (self._mean - mean) ** 2
            std = float(np.sqrt(np.sum(spread) / total))
        low, high = float(np.min(self._min)), float(np.max(self._max))
        known = self._count > 0
        per_feature = {
            "feature_mean": np.asarray(self._mean),
            "feature_std": np.sqrt(self._squares / count),
            "feature_min": np.where(known, self._min, np.nan),
            "feature_max": np.where(known, self._max, np.nan),
            "feature_nonfinite": np.asarray(self._seen - self._count),
            "feature_zero_fraction": self._zeros / count,
        }
        wide = self.shape and self.shape[-1] > MAX_FEATURES
        statistics = sample_statistics(sample) | {"integral": self._integral}
        return TensorSummary(
            name=self.name,
            shape=self.shape,
            dtype=self.dtype,
            rows=self.rows,
            feature_names=self.feature_names,
            mean=mean,
            std=std,
            min=low,
            max=high,
            abs_max=max(-low, high),
            nan_count=self._nan,
            inf_count=self._inf,
            zero_fraction=float(np.sum(self._zeros) / total),
            nonfinite_rows=tuple(self._bad_rows) if row_order_known else (),
            nonfinite_row_count=self._bad_row_count,
            **({} if wide else per_feature),
            **statistics,
        )


class DataStream:
    """One side of the data, streamed: inputs, targets and sample weights of aligned examples."""

    def __init__(
        self,
        seed: int = 0,
        *,
        from_arrays: bool = False,
        feature_names: tuple[str, ...] = (),
    ) -> None:
        self.from_arrays = from_arrays
        self.feature_names = feature_names
        self.inputs: list[TensorStream] = []
        self.targets: list[TensorStream] = []
        self.batches = self.rows = 0
        """All of them, also those only counted."""
        self.batch_size: int | None = None
        self.last_batch_size: int | None = None
        self._weights: TensorStream | None = None
        self._pending: list[list[NDArray[Any]]] = []
        self._seen_batches = self._seen_rows = self._merged_rows = 0
        self._single_class = 0
        self._labels = BatchLabels()
        self._random = np.random.default_rng(seed)
        self._sample: list[NDArray[Any] | None] = []
        self._filled = 0
        self._capacity = 0

    def update(
        self,
        inputs: Sequence[NDArray[Any]],
        targets: Sequence[NDArray[Any]],
        weight: NDArray[Any] | None = None,
        *,
        rows: int | None = None,
    ) -> None:
        """Take in the next batch; `rows` are its rows where not all of them are given."""
        if not self.inputs and not self.targets:
            names = self.feature_names if len(inputs) == 1 else ()
            self.inputs = [TensorStream(_name("x", i, inputs), names) for i in range(len(inputs))]
            self.targets = [TensorStream(_name("y", i, targets)) for i in range(len(targets))]
        tensors = [*inputs, *targets]
        seen = len(tensors[0]) if tensors else 0
        if weight is not None:
            self._weights = self._weights or TensorStream("sample_weight")
            tensors.append(weight)
        self.skip(seen if rows is None else rows)
        self._single_class += _is_single_class(targets)
        self._labels.update(targets)
        self._seen_batches += 1
        self._seen_rows += seen
        self._merge_later(tensors)

    def skip(self, rows: int) -> None:
        """Count the next batch without a look at it."""
        self.batches += 1
        self.rows += rows
        self.batch_size = self.batch_size or rows
        self.last_batch_size = rows

    def _merge_later(self, tensors: list[NDArray[Any]]) -> None:
        """Small batches are put together first: NumPy takes as long for 32 rows as for 1,000."""
        if self._pending and not _alike(self._pending[-1], tensors):
            self._merge()
        self._pending.append(tensors)
        rows = self._seen_rows - self._merged_rows
        if rows >= _CHUNK_ROWS or len(self._pending) * _bytes(tensors) >= _CHUNK_BYTES:
            self._merge()

    def _merge(self) -> None:
        if not self._pending:
            return
        tensors = [np.concatenate(parts) for parts in zip(*self._pending)]
        self._pending = []
        for stream, tensor in zip([*self.inputs, *self.targets, self._weights], tensors):
            if stream is not None:
                stream.update(tensor)
        rows = len(tensors[0]) if tensors else 0
        self._keep(tensors, rows)
        self._merged_rows += rows

    def _keep(self, tensors: Sequence[NDArray[Any]], rows: int) -> None:
        """Reservoir sampling (Vitter 1985, algorithm R), the same slots for all tensors."""
        if not self._sample:
            width = _bytes([t[:1] for t in tensors]) or 1
            self._capacity = int(np.clip(_SAMPLE_BYTES // width, 1, SAMPLE_ROWS))
            # Memory nothing has been written to costs nothing yet.
            self._sample = [np.empty((self._capacity, *t.shape[1:]), t.dtype) for t in tensors]
        # Sequences of varying length have no common shape to be sampled in.
        self._sample = [
            kept if kept is not None and kept.shape[1:] == tensor.shape[1:] else None
            for kept, tensor in zip(self._sample, tensors)
        ]
        room = min(self._capacity - self._filled, rows)
        later = np.arange(room, rows)
        slots = self._random.integers(0, self._merged_rows + later + 1)
        chosen = slots < self._capacity
        for kept, tensor in zip(self._sample, tensors):
            if kept is not None:
                kept[self._filled : self._filled + room] = tensor[:room]
                for row, slot in zip(later[chosen], slots[chosen]):
                    kept[slot] = tensor[row]
        self._filled += room

    def _sampled(self) -> list[NDArray[Any] | None]:
        self._merge()
        return [None if kept is None else kept[: self._filled] for kept in self._sample]

    @property
    def weights(self) -> TensorStream | None:
        """The sample weights, where there are any."""
        self._merge()
        return self._weights

    @property
    def sampled_inputs(self) -> list[NDArray[Any] | None]:
        """The sampled rows of each input; None where rows have no common shape."""
        return self._sampled()[: len(self.inputs)]

    @property
    def sampled_targets(self) -> list[NDArray[Any] | None]:
        """The sampled rows of each target, aligned with `sampled_inputs`."""
        return self._sampled()[len(self.inputs) : len(self.inputs) + len(self.targets)]

    @property
    def sampled_weights(self) -> NDArray[Any] | None:
        """The sampled rows of the sample weights, aligned with `sampled_inputs`."""
        return self._sampled()[-1] if self.weights is not None and self._sample else None

    def record(self, *, row_order_known: bool = False) -> DataRecord:
        """Everything seen so far as a `DataRecord`."""
        self._merge()

        def summaries(
            streams: Sequence[TensorStream], samples: Sequence[NDArray[Any] | None]
        ) -> tuple[TensorSummary, ...]:
            return tuple(
                stream.summary(sample, row_order_known=row_order_known)
                for stream, sample in zip(streams, samples)
            )

        weights = (
            None
            if self.weights is None
            else self.weights.summary(self.sampled_weights, row_order_known=row_order_known)
        )
        return DataRecord(
            inputs=summaries(self.inputs, self.sampled_inputs),
            targets=summaries(self.targets, self.sampled_targets),
            sample_weight=weights,
            weighted_classes=_weighted_classes(self.sampled_targets, self.sampled_weights),
            rows=self.rows,
            batches=self.batches,
            batch_size=self.batch_size,
            last_batch_size=self.last_batch_size,
            single_class_batches=(
                self._single_class / self._seen_batches if self._seen_batches > 1 else None
            ),
            batch_correlation=self._labels.correlation(),
        )


def _alike(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]]) -> bool:
    """Whether two batches can be put together."""
    return len(a) == len(b) and all(
        x.shape[1:] == y.shape[1:] and x.dtype == y.dtype for x, y in zip(a, b)
    )


def _bytes(tensors: Sequence[NDArray[Any]]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _name(prefix: str, index: int, tensors: Sequence[Any]) -> str:
    return prefix if len(tensors) == 1 else f"{prefix}[{index}]"


def _weighted_classes(
    targets: Sequence[NDArray[Any] | None], weights: NDArray[Any] | None
) -> tuple[tuple[float, float], ...]:
    """Each class and its share of the total weight; () where there are no weights or classes."""
    if weights is None or len(targets) != 1 or targets[0] is None or weights.ndim > 1:
        return ()
    rows = targets[0].reshape(len(targets[0]), -1)
    if rows.dtype.kind not in "biuf" or len(rows) != len(weights):
        return ()
    labels, numbers = np.unique(
        rows.argmax(axis=1) if rows.shape[1] > 1 else rows[:, 0], return_inverse=True
    )
    if not 2 <= len(labels) <= _MOST_CLASSES:
        return ()
    total = np.bincount(numbers.reshape(-1), weights=weights)
    return tuple(zip(labels.tolist(), (total / total.sum()).tolist())) if total.sum() > 0 else ()


def _is_single_class(targets: Sequence[NDArray[Any]]) -> bool:
    """Whether a batch of several examples shows one label only."""
    if len(targets) != 1 or len(targets[0]) < 4 or targets[0].dtype.kind not in "biuf":
        return False
    rows = targets[0].reshape(len(targets[0]), -1)
    return bool((rows == rows[0]).all())
