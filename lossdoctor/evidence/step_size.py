"""How large the optimizer's steps are: against the weights, and against what the loss allows."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence.loss_curve import MARGIN
from lossdoctor.record.run import OptimizerRecord, RunRecord, VariableSeries, WeightRecord

Floats = NDArray[np.float64]

LEAST_CHANGE = 3.0
PLAIN_LIMIT = 2.0
FAST_QUARTER = 0.75
MANY_STEPS = 1000
SHORT_TRAVEL = 1.0
SETTLING, REPLACED = 100, 1.0
"""A run shorter than it takes to settle is judged by wilder steps."""
VANISHING = 0.01
FIRST_RATIO = 0.03
FIRST_RATIO_WITH_MEMORY = 0.01
_ROUND = (1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class ProposedRate:
    """A learning rate and the number it was derived from.

    By `basis`, `value` is: `"update"` the update ratio of the first step, `"curvature"` the secant
    curvature λ of the first steps, `"growth"` the λ that the growth of the loss implies,
    `"decades"` the divisor of the present rate. `largest_stable` is limit / λ where a λ is known,
    `update_ratio` what the first step's ratio would be at this rate.
    """

    rate: float
    basis: Literal["update", "curvature", "growth", "decades"]
    value: float
    largest_stable: float | None = None
    update_ratio: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepSize:
    """Sampled steps: update ratios of the kernels and curvature along the path.

    `ratio` (S, K) holds ‖Δw‖/‖w‖ of every kernel (variables of two or more axes: fresh biases
    start at zero, where a ratio means nothing). ‖w‖ is the norm before the step, but at least what
    a Glorot draw of the kernel's shape would have, so that zero-initialized kernels have a scale.
    """

    step: NDArray[np.int64]
    epoch: NDArray[np.int64]
    total_steps: int
    learning_rate: Floats
    ratio: Floats
    kernels: tuple[str, ...]
    leverage: Floats
    """‖g‖‖w‖ of the kernel where it is largest: how much the loss heeds the weights' size."""
    curvature: Floats
    size: float
    """‖w‖ of all kernels together, at the first of these steps."""
    optimizer: OptimizerRecord | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series, steps = record.variables, record.steps
        if series is None or steps is None or not len(series.step):
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        shapes = _shapes(record)
        rates = np.interp(series.step, steps.step, steps.learning_rate)
        if not np.all(rates > 0):
            raise NotRecorded("the learning rate is not known, or 0")
        kernels = [
            index
            for index, path in enumerate(series.paths)
            if len(shapes.get(path, _UNKNOWN).shape) >= 2
            or (path not in shapes and series.roles[index].endswith(("kernel", "embeddings")))
        ]
        if not kernels:
            raise NotApplicable("the model has no trainable kernel")
        columns = [_ratio(record, index, shapes) for index in kernels]
        return cls(
            step=np.asarray(series.step, dtype=np.int64),
            epoch=np.interp(series.step, steps.step, steps.epoch).astype(np.int64),
            total_steps=steps.total_steps,
            learning_rate=rates,
            ratio=np.stack(columns, axis=1),
            kernels=tuple(series.layers[index] for index in kernels),
            leverage=np.max(np.nan_to_num(_leverage(series)[:, kernels]), axis=1),
            curvature=np.asarray(series.curvature, dtype=np.float64),
            size=float(np.linalg.norm(np.nan_to_num(series.weight_norm[0, kernels]))),
            optimizer=record.optimizer,
        )

    @property
    def largest(self) -> Floats:
        """The largest finite kernel update ratio at each sampled step."""
        return np.asarray(np.max(np.where(np.isfinite(self.ratio), self.ratio, 0.0), axis=1))

    @property
    def first(self) -> float:
        """The update ratio of the very first step."""
        return float(self.largest[0])

    @property
    def peak(self) -> float:
        """The largest update ratio of any sampled step."""
        return float(self.largest.max())

    @property
    def late(self) -> float:
        """The typical update ratio of the second half of the run."""
        return float(np.median(self.largest[self.step >= self.step[-1] / 2]))

    @property
    def typical(self) -> float:
        """The update ratio that a quarter of all steps exceed, wherever in the run they are.

        Sampled steps count for as many as they stand for: the start is sampled more densely.
        """
        order = np.argsort(self.largest)
        stands_for = np.diff(self.step, append=max(self.total_steps, self.step[-1] + 1))
        reached = np.cumsum(stands_for[order]) >= FAST_QUARTER * stands_for.sum()
        return float(self.largest[order][np.argmax(reached)])

    @property
    def travel(self) -> float:
        """How far the weights were moved in all, in units of their own size."""
        stands_for = np.diff(self.step, append=max(self.total_steps, self.step[-1] + 1))
        return float(np.sum(self.largest * stands_for))

    def drift(self, fall: float) -> float:
        """How far a loss that fell by `fall` can have drawn the weights at most, in units of their
        own size: what the draw of the batches moves to and fro does not count.

        Along a gradient flow of duration T the loss falls by ∫‖∇L‖² dt and the weights move by
        ∫‖∇L‖ dt ≤ √(T x fall), by Cauchy and Schwarz; T is the sum of all rates ÷ (1 - momentum).
        Infinite for other optimizers than SGD.
        """
        if self.optimizer is None or self.optimizer.class_name != "SGD" or self.size == 0:
            return math.inf
        pace = float(np.median(self.learning_rate)) / (1 - (self.optimizer.momentum or 0.0))
        return math.sqrt(pace * self.total_steps * max(fall, 0.0)) / self.size

    @property
    def typical_leverage(self) -> float:
        """By how much the loss would change, to first order, if a kernel doubled."""
        return float(np.median(self.leverage))

    def limit(self, usual: float) -> float:
        """The update ratio beyond which steps are too large: `usual`, once a run can settle."""
        return usual if self.total_steps > SETTLING else REPLACED

    def cut_short(self, scale: float, travel: float = SHORT_TRAVEL) -> bool:
        """Whether the run made few steps which, of a sound size each, moved the weights little.

        Args:
            scale: What the loss is measured against; gradients must be able to change it.
            travel: Up to how many times their own size counts as little.
        """
        moving = self.typical_leverage > VANISHING * scale
        return moving and self.total_steps < MANY_STEPS and self.travel < travel

    @property
    def headroom(self) -> float | None:
        """How many times the rate would go into the largest stable one, in the second half.

        The draw of batches makes secant curvature look larger, hence the headroom smaller.
        """
        late = self.step >= self.step[-1] / 2
        product = np.abs(self.learning_rate * self.curvature)[late]
        product = product[np.isfinite(product) & (product > 0)]
        if self.stable_limit is None or not len(product):
            return None
        return self.stable_limit / float(np.median(product))

    @property
    def exceeded(self) -> tuple[float, ...]:
        """The largest stable rate, if the rate in use is above it. Curvature met along the way can
        be lower than where the run broke: a limit above the rate in use says nothing."""
        stable = self.largest_stable_rate
        return (stable,) if stable is not None and stable < self.present_rate else ()

    @property
    def present_rate(self) -> float:
        """The largest learning rate of the sampled steps."""
        return float(self.learning_rate.max())

    @property
    def stable_limit(self) -> float | None:
        """Largest learning rate x λ that is stable: 2(1 + β) for SGD; None for other methods."""
        if self.optimizer is None or self.optimizer.class_name != "SGD":
            return None
        return 2 * (1 + self.optimizer.momentum)

    @property
    def largest_stable_rate(self) -> float | None:
        """Limit / λ with the secant curvature λ of the first steps; None where it is unknown."""
        measured = self._by_curvature(None)
        return measured.largest_stable if measured else None

    def first_above(self, ratio: float) -> Moment | None:
        """The first sampled step whose update ratio exceeds `ratio`."""
        above = np.flatnonzero(self.largest > ratio)
        if not len(above):
            return None
        return Moment(epoch=int(self.epoch[above[0]]), step=int(self.step[above[0]]))

    def lower_rate(self, growth: float | None = None) -> ProposedRate:
        """A rate that trains calmly, well below the present one.

        The smaller of the rate whose first update is a sound share of the weights and half the
        largest stable rate, at least three times below the present one.

        Args:
            growth: Factor by which the loss grows per step, if it grows steadily.
        """
        candidates = [c for c in (self._by_update(), self._by_curvature(growth)) if c]
        stable = next((c.largest_stable for c in candidates if c.largest_stable), None)
        calm = [c for c in candidates if c.rate <= self.present_rate / LEAST_CHANGE]
        if not calm:
            return ProposedRate(
                rate=rounded(self.present_rate / 10),
                basis="decades",
                value=10,
                largest_stable=stable,
            )
        best = min(calm, key=lambda candidate: candidate.rate)
        return dataclasses.replace(best, rate=rounded(best.rate), largest_stable=stable)

    def raise_rate(self) -> ProposedRate:
        """The rate whose first update is a sound share of the weights, above the present one."""
        proposed = self._by_update()
        if proposed is None or proposed.rate < self.present_rate * LEAST_CHANGE:
            return ProposedRate(rate=rounded(self.present_rate * 10), basis="decades", value=0.1)
        return dataclasses.replace(proposed, rate=rounded(proposed.rate))

    def _by_update(self) -> ProposedRate | None:
        first, rate = self.first, float(self.learning_rate[0])
        if not (math.isfinite(first) and first > 0 and rate > 0):
            return None
        # Momentum (and Adam's mean of gradients) goes on adding what the first step began.
        memory = self.optimizer is not None and (self.optimizer.momentum or self.optimizer.beta_1)
        sound = FIRST_RATIO_WITH_MEMORY if memory else FIRST_RATIO
        return ProposedRate(
            rate=rate * sound / first, basis="update", value=first, update_ratio=sound
        )

    def _by_curvature(self, growth: float | None) -> ProposedRate | None:
        if self.stable_limit is None:
            return None
        if growth is not None and self.stable_limit == PLAIN_LIMIT:
            basis, sharpness = "growth", (1 + math.sqrt(growth)) / self.present_rate
        else:
            seen = self.curvature[np.isfinite(self.curvature) & (self.curvature > 0)]
            if not len(seen):
                return None
            basis, sharpness = "curvature", float(seen[0])
        largest = self.stable_limit / sharpness
        return ProposedRate(
            rate=MARGIN * largest,
            basis="growth" if basis == "growth" else "curvature",
            value=sharpness,
            largest_stable=largest,
        )


def rounded(rate: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, ... not above `rate`."""
    decade = 10.0 ** math.floor(math.log10(rate))
    digit = max((d for d in _ROUND if d * decade <= rate * (1 + 1e-9)), default=1.0)
    return float(f"{digit * decade:.1e}")


def _leverage(series: VariableSeries) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(series.gradient_norm * series.weight_norm, dtype=np.float64)


_UNKNOWN = WeightRecord(name="", path="", shape=(), trainable=True)


def _shapes(record: RunRecord) -> dict[str, WeightRecord]:
    layers = record.model.layers if record.model else ()
    return {weight.path: weight for layer in layers for weight in layer.weights}


def _ratio(record: RunRecord, index: int, shapes: dict[str, WeightRecord]) -> Floats:
    series = record.variables
    assert series is not None
    after = np.asarray(series.weight_norm, dtype=np.float64)[:, index]
    update = np.asarray(series.update_norm, dtype=np.float64)[:, index]
    weight = shapes.get(series.paths[index])
    before = after.copy()
    follows = np.diff(series.step) == 1
    before[1:][follows] = after[:-1][follows]
    floor = 0.0
    if weight is not None:
        size = float(np.prod(weight.shape))
        before[0] = math.sqrt(size * (weight.mean**2 + weight.std**2))
        floor = math.sqrt(size * 2 / (size / weight.shape[-1] + weight.shape[-1]))
    with np.errstate(all="ignore"):
        return np.asarray(update / np.maximum(before, floor), dtype=np.float64)
