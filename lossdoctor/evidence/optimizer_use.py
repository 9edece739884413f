"""What the optimizer's settings allow it to do in this run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.target_scale import planned_steps
from lossdoctor.record.run import OptimizerRecord, RunRecord, WeightRecord

_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
_USUAL_EPSILON = 1e-4
_LONG_MEMORY = 0.99  # the longest in common use: an average over 100 steps
_FEWEST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class OptimizerUse:
    """The optimizer of a run, and what becomes of its steps.

    Attributes:
        rate: The largest learning rate of the run.
        way: Sum of the learning rates after the highest one ÷ what it would be at that rate all
            along; None where the rate does not change.
        clipped: Share of the recorded steps at which clipping changed the gradient.
        reach: Where the step is the clipped gradient times the rate: the farthest way the run can
            move a kernel ÷ that kernel's norm, for the kernel where this is largest.
        damping: An epsilon set above its usual size ÷ the typical gradient entry, under Adam and
            its kin.
        memory: How many steps the average of past gradients reaches back, 1 / (1 - momentum), ÷
            the steps of the run.
        lowered_on_plateaus: A callback lowers the rate where it finds that the loss does not fall.
    """

    optimizer: OptimizerRecord
    rate: float | None
    way: float | None
    clipped: float | None
    reach: float | None
    damping: float | None
    memory: float | None
    lowered_on_plateaus: bool
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        optimizer = setup.optimizer
        if optimizer is None:
            raise NotRecorded.of(record, "the optimizer", "compile the model with optimizer=...")
        rates = _rates(record, optimizer)
        rate = float(rates.max()) if len(rates) else optimizer.learning_rate
        return cls(
            optimizer=optimizer,
            rate=rate,
            way=_way(rates),
            clipped=_clipped(record, optimizer),
            reach=_reach(record, optimizer, rates),
            damping=_damping(record, optimizer),
            memory=_memory(record, optimizer),
            lowered_on_plateaus=setup.has_callback("ReduceLROnPlateau"),
            setup=setup,
        )

    @property
    def clipping(self) -> str:
        """The name of the clipping setting in use."""
        return next((n for n in _CLIPPING if getattr(self.optimizer, n) is not None), _CLIPPING[0])


def _rates(record: RunRecord, optimizer: OptimizerRecord) -> NDArray[np.float64]:
    """The learning rate along the run, at even distances."""
    if optimizer.schedule_values:
        return np.asarray(optimizer.schedule_values, dtype=np.float64)
    logged = record.history.learning_rate if record.history else np.empty(0)
    if len(logged) and np.isfinite(logged).all():
        return np.asarray(logged, dtype=np.float64)
    rate = optimizer.learning_rate
    return np.empty(0) if rate is None else np.asarray([rate], dtype=np.float64)


def _way(rates: NDArray[np.float64]) -> float | None:
    if len(rates) < 2 or not rates.max() > rates.min() or rates.max() <= 0:
        return None
    # A warm-up is small before the peak.
    return float(rates[int(rates.argmax()) :].mean() / rates.max())


def _memory(record: RunRecord, optimizer: OptimizerRecord) -> float | None:
    steps, kept = planned_steps(record), max(optimizer.momentum, optimizer.beta_1 or 0.0)
    long = _LONG_MEMORY < kept < 1
    return 1 / (1 - kept) / steps if steps and long else None


def _clipped(record: RunRecord, optimizer: OptimizerRecord) -> float | None:
    series = record.variables
    if series is None or len(series.step) < _FEWEST_STEPS:
        return None
    norms = np.asarray(series.gradient_norm, dtype=np.float64)
    limit = optimizer.clipnorm or optimizer.global_clipnorm
    if optimizer.global_clipnorm:
        norms = np.sqrt(np.nansum(norms**2, axis=1, keepdims=True))
    if optimizer.clipvalue:
        # Some entry exceeds the limit wherever the root mean square does.
        norms, limit = norms / np.sqrt(np.asarray(series.sizes)), optimizer.clipvalue
    if not limit:
        return None
    measured = norms[np.isfinite(norms) & (norms > 0)]
    return float(np.mean(measured > limit)) if measured.size else None


def _reach(
    record: RunRecord, optimizer: OptimizerRecord, rates: NDArray[np.float64]
) -> float | None:
    steps = planned_steps(record)
    if optimizer.class_name != "SGD" or steps is None or not len(rates) or record.model is None:
        return None
    if optimizer.momentum >= 1:  # adds up all gradients there ever were: no limit
        return None
    way = float(rates.mean()) / (1 - optimizer.momentum) * steps
    found = [
        way * limit / norm
        for layer in record.model.layers
        if (kernel := layer.kernel) is not None
        and kernel.trainable
        and (limit := _limit(optimizer, kernel))
        and (norm := math.sqrt(math.prod(kernel.shape)) * math.hypot(kernel.mean, kernel.std)) > 0
    ]
    return max(found, default=None)


def _damping(record: RunRecord, optimizer: OptimizerRecord) -> float | None:
    series, epsilon = record.variables, optimizer.epsilon
    if series is None or epsilon is None or epsilon <= _USUAL_EPSILON:
        return None
    entries = np.asarray(series.gradient_norm, dtype=np.float64) / np.sqrt(series.sizes)
    entries = entries[np.isfinite(entries) & (entries > 0)]
    return float(epsilon / np.median(entries)) if entries.size else None


def _limit(optimizer: OptimizerRecord, kernel: WeightRecord) -> float | None:
    if optimizer.clipvalue:
        return optimizer.clipvalue * math.sqrt(math.prod(kernel.shape))
    return optimizer.clipnorm or optimizer.global_clipnorm
