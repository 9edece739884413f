"""How large, how uneven and how far off center the inputs are where the first weights meet them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.architecture import NORMALIZATION, SATURATING, Architecture
from lossdoctor.evidence.initialization import Initialization
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, OptimizerRecord, RunRecord, TensorSummary

_INDEXING = {
    "Embedding",
    "StringLookup",
    "IntegerLookup",
    "Hashing",
    "CategoryEncoding",
    "Discretization",
    "TextVectorization",
    "HashedCrossing",
}
_PROPORTIONAL = {"SGD"}
_NEARLY_THE_SAME = 10.0
_BYTES = (0, 255)
_MISSET = 30.0
"""Pixels in [0, 1] stand 255 below what augmentation expects, standardized ones about 100."""


@dataclass(frozen=True, kw_only=True)
class MissetRange:
    """An augmentation set for values up to `expected` that reads values from `low` to `high`."""

    layer: LayerRecord
    expected: float
    low: float
    high: float

    @property
    def reached(self) -> float:
        """The largest size of a value."""
        return max(abs(self.low), abs(self.high))

    @property
    def times(self) -> float:
        """How many times larger one of the ranges is than the other."""
        return max(_ratio(self.expected, self.reached), _ratio(self.reached, self.expected))


@dataclass(frozen=True, kw_only=True)
class ScaledInput:
    """One input of the model and its scale, after any `Rescaling` layers on its way.

    `exempt` says why its scale cannot hurt, or cannot be judged; None where it matters.

    Attributes:
        gain: What the `Rescaling` layers on its way multiply it by,
        shift: and what they add.
        rms: Root mean square of all entries.
        offset: ‖mean‖ ÷ ‖standard deviation‖ over the features.
        unevenness: Scale of the largest feature ÷ scale at the lower quartile of the features; a
            feature's scale is the root mean square of its non-zero entries.
        largest: Index of the feature with the largest scale.
        largest_scale: Its scale.
        varies: Whether any feature varies at all.
        curvature_step: Learning rate × E‖x‖² ÷ 2(1 + momentum): how many times the step along the
            first kernel exceeds the stable one when the loss curves like the identity's square.
            None where the step does not grow with the gradient (adaptive optimizers, clipping), or
            the gradient not with the inputs (units that saturate).
        absorbed: A normalization behind the first layers divides the scale out again.
        size_is_harmless: Only linear outputs read it, with steps that do not grow with it: larger
            inputs then only want smaller weights.
        misset: An augmentation on its way that is set for another range of values.
        unadapted: A `Normalization` on its way that still passes on what it reads.
    """

    index: int
    summary: TensorSummary
    reader: LayerRecord | None
    exempt: str | None
    gain: float
    shift: float
    rms: float
    offset: float
    unevenness: float
    largest: int
    largest_scale: float
    varies: bool
    curvature_step: float | None
    absorbed: bool
    size_is_harmless: bool
    misset: MissetRange | None = None
    unadapted: LayerRecord | None = None

    @property
    def largest_name(self) -> str:
        """The largest feature as the user knows it."""
        names = self.summary.feature_names
        return f"'{names[self.largest]}'" if names else f"number {self.largest}"

    @property
    def is_tabular(self) -> bool:
        """One vector of features for each example."""
        return len(self.summary.shape) <= 1

    @property
    def looks_like_pixels(self) -> bool:
        """Images (or flattened ones) in whole numbers from 0 to 255."""
        image = len(self.summary.shape) >= 2 or self.summary.shape[-1:] >= (64,)
        return image and self.summary.min >= 0 and 128 <= self.summary.max <= 255

    @property
    def looks_like_ids(self) -> bool:
        """Whole numbers in sequences, as word ids are."""
        return (
            self.summary.integral
            and self.summary.min >= 0
            and not self.looks_like_pixels
            and len(self.summary.shape) == 1
            and self.unevenness < 10
        )


@dataclass(frozen=True, kw_only=True)
class InputScale:
    """The scale of every numeric input."""

    inputs: tuple[ScaledInput, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        architecture = Architecture.from_record(record)
        setup = architecture.setup
        if record.train is None or not record.train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        pretrained, random = _start(record)
        inputs = [
            _scaled(index, summary, architecture, setup, pretrained, random)
            for index, summary in enumerate(record.train.inputs)
            if index < len(setup.model.inputs) and math.isfinite(summary.abs_max)
        ]
        if not inputs:
            raise NotApplicable("no input holds finite numbers")
        return cls(inputs=tuple(inputs), setup=setup)


def _start(record: RunRecord) -> tuple[bool, frozenset[str]]:
    """Whether weights were trained before, and which layers are frozen although they were not."""
    try:
        initial = Initialization.from_record(record)
    except NotApplicable:
        return record.optimizer is not None and record.optimizer.iterations > 0, frozenset()
    return initial.pretrained, frozenset(k.layer.name for k in initial.frozen_at_random)


def _scaled(
    index: int,
    summary: TensorSummary,
    architecture: Architecture,
    setup: Setup,
    pretrained: bool,
    random: frozenset[str],
) -> ScaledInput:
    way = _first_readers(architecture, setup.model.inputs[index], summary)
    gain, shift, readers = way.gain, way.shift, way.readers
    layers = [architecture.layers[reader] for reader in readers]
    mean, std, scale = _feature_scales(summary, gain, shift)
    largest = int(np.argmax(scale))
    offset = _ratio(float(np.linalg.norm(mean)), float(np.linalg.norm(std)))
    # A model's own Rescaling makes nearly the same of all inputs that had been scaled before.
    twice = gain != 1 and offset > _NEARLY_THE_SAME
    reader = layers[0] if layers else None
    curvature_step = _curvature_step(setup.optimizer, reader, mean, std)
    heads = {output.layer for output in setup.model.outputs if output.activation == "linear"}
    return ScaledInput(
        index=index,
        summary=summary,
        reader=reader,
        exempt=_exempt(summary, layers, pretrained and not twice, None if twice else random),
        gain=gain,
        shift=shift,
        rms=float(np.sqrt(np.mean(mean**2 + std**2))),
        offset=offset,
        unevenness=_unevenness(scale, std),
        largest=largest,
        largest_scale=float(scale[largest]),
        varies=bool(np.any(std > 0)),
        curvature_step=curvature_step,
        absorbed=bool(readers) and all(architecture.normalized_behind(r) for r in readers),
        size_is_harmless=curvature_step is None and heads.issuperset(readers),
        misset=way.misset,
        unadapted=way.unadapted,
    )


class _Way(NamedTuple):
    """What plain `Rescaling` layers make of an input, what it meets behind them, and on its way:
    augmentation set for other values, a `Normalization` that was never adapted."""

    gain: float
    shift: float
    readers: tuple[int, ...]
    misset: MissetRange | None
    unadapted: LayerRecord | None


def _first_readers(architecture: Architecture, source: int, summary: TensorSummary) -> _Way:
    gain, shift = 1.0, 0.0
    misset: MissetRange | None = None
    unadapted: LayerRecord | None = None
    while True:
        low, high = sorted((gain * summary.min + shift, gain * summary.max + shift))
        for layer in architecture.augmented_by_range(source):
            expected = max(map(abs, layer.config.get("value_range") or _BYTES))
            found = MissetRange(layer=layer, expected=expected, low=low, high=high)
            misset = found if misset is None and found.times > _MISSET else misset
        readers = architecture.met_first(source)
        met = architecture.layers[readers[0]] if len(readers) == 1 else None
        if met is not None and _is_unadapted(met):
            unadapted, source = met, readers[0]
            continue
        if met is None or met.class_name != "Rescaling" or met.custom:
            return _Way(gain, shift, readers, misset, unadapted)
        scale, offset = met.config.get("scale"), met.config.get("offset", 0.0)
        if not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)):
            return _Way(gain, shift, readers, misset, unadapted)
        gain, shift, source = gain * scale, shift * scale + offset, readers[0]


def _is_unadapted(layer: LayerRecord) -> bool:
    start = {"mean": 0.0, "variance": 1.0}
    seen = {w.name: w.mean for w in layer.weights if w.name in start and w.std == 0}
    return layer.class_name == "Normalization" and not layer.custom and seen == start


def _exempt(
    summary: TensorSummary,
    layers: list[LayerRecord],
    pretrained: bool,
    random: frozenset[str] | None,
) -> str | None:
    """`random`: layers frozen at their random start; None = all frozen ones are judged, too."""
    if not layers:
        return "nothing reads it"
    for layer in layers:
        if layer.class_name in _INDEXING:
            return f"'{layer.name}' looks its values up"
        if layer.class_name in NORMALIZATION | {"Normalization", "Rescaling"}:
            return f"'{layer.name}' rescales it"
        if layer.custom or not layer.weights:
            return f"what '{layer.name}' does to its scale is not known"
        if random is not None and not layer.trainable and layer.name not in random:
            return f"'{layer.name}' is frozen and expects the inputs it was trained on"
    if pretrained:
        return "the weights were trained before, on inputs this scale belongs to"
    if summary.dtype == "bool" or summary.one_hot_fraction == 1.0:
        return "it is one-hot"
    return None


def _feature_scales(
    summary: TensorSummary, gain: float, shift: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, standard deviation and scale of each feature (of all entries, where too many)."""
    mean, std = np.asarray([summary.mean]), np.asarray([summary.std])
    zeros = np.asarray([summary.zero_fraction])
    if len(summary.feature_mean):
        mean, std = np.asarray(summary.feature_mean), np.asarray(summary.feature_std)
        zeros = np.asarray(summary.feature_zero_fraction)
    mean, std = np.nan_to_num(mean * gain + shift), np.nan_to_num(std * abs(gain))
    # The few non-zero entries of a sparse feature say how large it is; its mean square does not.
    filled = np.maximum(1.0 - zeros, 1.0 / max(summary.rows, 1)) if shift == 0 else 1.0
    return mean, std, np.sqrt((mean**2 + std**2) / filled)


def _unevenness(scale: NDArray[np.float64], std: NDArray[np.float64]) -> float:
    varying = np.sort(scale[std > 0])
    if len(varying) < 2:
        return 1.0
    return _ratio(float(varying[-1]), float(varying[(len(varying) - 1) // 4]))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else (math.inf if above > 0 else 1.0)


def _curvature_step(
    optimizer: OptimizerRecord | None,
    reader: LayerRecord | None,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> float | None:
    kernel = reader.kernel if reader else None
    if optimizer is None or optimizer.class_name not in _PROPORTIONAL or kernel is None:
        return None
    if optimizer.learning_rate is None or optimizer.clipnorm or optimizer.global_clipnorm:
        return None
    if reader is None or reader.activation in SATURATING:
        return None
    fan_in = math.prod(kernel.shape[:-1])
    power = fan_in * float(np.mean(mean**2 + std**2))
    return optimizer.learning_rate * power / (2 * (1 + optimizer.momentum))
