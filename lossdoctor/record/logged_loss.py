"""The batch's loss of a `train_step` that computes its loss itself, found behind what it logs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class LoggedLoss:
    """Watches a model's metrics while its step runs.

    `logs["loss"]` is the loss of the batch, or the running mean of a metric; then the loss of the
    batch is what that metric was given last.
    """

    def __init__(self) -> None:
        self._given: dict[int, dict[str, Any]] = {}
        self._results: list[tuple[Any, int]] = []

    @contextlib.contextmanager
    def watching(self, model: keras.Model) -> Iterator[None]:
        """Watch the metrics of `model` in the block."""
        metrics = [m for m in model.metrics if isinstance(m, keras.metrics.Metric)]
        saved = [(metric.__dict__, dict(metric.__dict__)) for metric in metrics]
        try:
            for metric in metrics:
                update, result = metric.update_state, metric.result
                metric.__dict__["update_state"] = functools.partial(self._update, metric, update)
                metric.__dict__["result"] = functools.partial(self._result, metric, result)
            yield
        finally:
            for attributes, before in saved:
                for name in ("update_state", "result"):
                    attributes.pop(name, None)
                    if name in before:
                        attributes[name] = before[name]

    def _update(self, metric: Any, update: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(("values", "sample_weight"), args)) | kwargs
        self._given[id(metric)] = given if isinstance(metric, keras.metrics.Mean) else {}
        return update(*args, **kwargs)

    def _result(self, metric: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        value = result(*args, **kwargs)
        self._results.append((value, id(metric)))
        return value

    def of(self, logs: Any) -> Any | None:
        """The loss of the batch of the step that returned `logs`, a scalar; None where not told."""
        value = self.value(logs)
        if value is None:
            return None
        loss = tf.convert_to_tensor(value)
        if self._logged(logs)[1] is not None:
            loss = tf.reduce_mean(loss)
        return loss if loss.shape.rank == 0 and loss.dtype.is_floating else None

    def value(self, logs: Any) -> Any | None:
        """What the step logs as its loss, or gives the metric whose result that is."""
        logged, metric = self._logged(logs)
        if metric is None:
            return logged
        given = self._given.get(metric, {})
        # One weight for all values leaves their mean as it is.
        return given.get("values") if np.ndim(given.get("sample_weight", 0)) == 0 else None

    def stale(self, logs: Any) -> bool:
        """Whether the loss in `logs` is the result of a metric that the step never updates."""
        _, metric = self._logged(logs)
        return metric is not None and metric not in self._given

    def _logged(self, logs: Any) -> tuple[Any | None, int | None]:
        """The loss in `logs`, and which metric's result it is."""
        logged = logs.get("loss") if isinstance(logs, Mapping) else None
        return logged, next((metric for value, metric in self._results if value is logged), None)
