"""What stands between the layers of a model's graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord

_CONVOLUTIONS = {f"{kind}{rank}D" for kind in ("Conv", "SeparableConv") for rank in (1, 2, 3)}
AFFINE = frozenset({"Dense", "EinsumDense", *_CONVOLUTIONS})
RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN"}) | {
    f"ConvLSTM{rank}D" for rank in (1, 2, 3)
}
PER_EXAMPLE_NORMALIZATION = frozenset(
    {"LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization"}
)
NORMALIZATION = PER_EXAMPLE_NORMALIZATION | {"BatchNormalization"}
RESHAPING = frozenset(
    {"InputLayer", "Flatten", "Reshape", "Permute", "RepeatVector", "Identity", "Masking"}
    | {"ExpandDims", "Squeeze", "Transpose", "Cast", "Copy", "NotEqual"}
    | {f"{kind}{rank}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3)}
)
RANDOM = frozenset(
    {"Dropout", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization"}
    | {f"SpatialDropout{rank}D" for rank in (1, 2, 3)}
)
BY_RANGE = frozenset(
    {"AugMix", "RandAugment", "RandomBrightness", "RandomColorJitter", "RandomErasing"}
    | {"RandomInvert", "RandomPosterization", "Solarization"}
)
"""Augmentation that adds, or counts from the end of, the range it is set for."""
AUGMENTATION = BY_RANGE | {
    *("CenterCrop", "MixUp", "RandomColorDegeneration", "RandomContrast", "RandomCrop"),
    *("RandomElasticTransform", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue"),
    *("RandomPerspective", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
    *("RandomTranslation", "RandomZoom", "Resizing"),
}
_MERGES = frozenset({"Add", "Subtract", "Average", "Concatenate"})
_PASSED = RESHAPING | RANDOM | AUGMENTATION | {"Concatenate"}
_AVERAGES = frozenset(
    f"{kind}Pooling{rank}D" for kind in ("Average", "GlobalAverage") for rank in (1, 2, 3)
)
_MAXIMA = frozenset(f"{kind}Pooling{rank}D" for kind in ("Max", "GlobalMax") for rank in (1, 2, 3))
_LINEAR = (
    RESHAPING | RANDOM | _MERGES | _AVERAGES | {"BatchNormalization", "Rescaling", "Normalization"}
)
SATURATING = frozenset({"sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign"})


@dataclass(frozen=True, kw_only=True)
class LinearPair:
    """Two layers of weights that act as one: nothing between them is non-linear."""

    first: LayerRecord
    second: LayerRecord


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The graph of the model, walked along `inbound`."""

    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if not setup.model.graph_known:
            raise NotApplicable(
                "the model is subclassed, so which layer feeds which is not known; "
                "a functional or Sequential model shows it"
            )
        return cls(setup=setup)

    @property
    def layers(self) -> tuple[LayerRecord, ...]:
        """All layers, in the record's order."""
        return self.setup.model.layers

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the indices of the layers that read it."""
        found: list[list[int]] = [[] for _ in self.layers]
        for index, layer in enumerate(self.layers):
            for source in layer.inbound:
                found[source].append(index)
        return tuple(tuple(readers) for readers in found)

    @cached_property
    def hidden_weighted(self) -> tuple[LayerRecord, ...]:
        """Dense, convolutional and recurrent layers with a trainable kernel, the heads left out."""
        heads = {output.layer for output in self.setup.model.outputs}
        return tuple(
            layer
            for index, layer in enumerate(self.layers)
            if index not in heads
            and layer.class_name in AFFINE | RECURRENT
            and layer.kernel is not None
            and layer.kernel.trainable
        )

    @cached_property
    def single_units(self) -> tuple[LayerRecord, ...]:
        """Hidden layers of a chain that pass on one number for each example: a layer of one unit,
        or a pooling over all positions of one channel."""
        ways = [*(layer.inbound for layer in self.layers), *self.readers]
        if any(len(way) > 1 for way in ways):
            return ()
        return tuple(
            layer
            for index, layer in enumerate(self.layers)
            if (layer in self.hidden_weighted or self._pools(index))
            and _numbers(layer.output_shape) == 1
        )

    def _pools(self, index: int) -> bool:
        layer = self.layers[index]
        hidden = index not in {output.layer for output in self.setup.model.outputs}
        pooling = layer.class_name in _AVERAGES | _MAXIMA
        return hidden and pooling and (_numbers(layer.input_shape) or 0) > 1

    @cached_property
    def linear_pairs(self) -> tuple[LinearPair, ...]:
        """Every layer of weights that meets another one with nothing non-linear in between.

        Left out, because there it is meant: layers without trainable weights, up-convolutions, the
        halves of a separable convolution, projections into recurrence or attention, and
        bottlenecks (narrower than what they read and than what reads them) in a network that is
        non-linear elsewhere or gives back its input.
        """
        found = [
            LinearPair(first=self.layers[index], second=self.layers[after])
            for index, layer in enumerate(self.layers)
            if _is_affine(layer)
            and layer.kernel is not None
            and layer.kernel.trainable
            and not self._is_read_otherwise(index)
            for after in dict.fromkeys(self._next_weighted(index))
            if _mixes_channels(self.layers[after])
        ]
        if self.is_linear_throughout and not self._gives_back_its_input:
            return tuple(found)
        return tuple(pair for pair in found if not _is_bottleneck(pair))

    @cached_property
    def only_maxima(self) -> tuple[LayerRecord, ...]:
        """The hidden layers of weights of a model without any activation, whose pooling takes
        maxima; none where something else is non-linear, or nothing is."""
        heads = [output.layer for output in self.setup.model.outputs if output.layer is not None]
        maxima = {i for i, layer in enumerate(self.layers) if layer.class_name in _MAXIMA}
        linear = self._linear_with(frozenset(maxima))
        if not maxima or not all(s in linear for head in heads for s in self.layers[head].inbound):
            return ()
        return tuple(layer for layer in self.hidden_weighted if layer.class_name in AFFINE)

    @cached_property
    def is_linear_throughout(self) -> bool:
        """Whether everything before the heads is a linear function of the inputs."""
        heads = {output.layer for output in self.setup.model.outputs}
        return all(
            source in self._linear_of_inputs
            for head in heads
            if head is not None
            for source in self.layers[head].inbound
        )

    @cached_property
    def _linear_of_inputs(self) -> frozenset[int]:
        return self._linear_with(frozenset())

    def _linear_with(self, passing: frozenset[int]) -> frozenset[int]:
        """What is a linear function of the inputs, if the layers `passing` counted as linear."""
        linear: set[int] = set()
        for index, layer in enumerate(self.layers):
            passes = (_is_affine(layer) or layer.class_name in _LINEAR) and not layer.custom
            if (passes or index in passing) and all(source in linear for source in layer.inbound):
                linear.add(index)
        return frozenset(linear)

    @cached_property
    def _gives_back_its_input(self) -> bool:
        inputs = {self.layers[index].output_shape for index in self.setup.model.inputs}
        return any(output.shape in inputs for output in self.setup.model.outputs)

    def _next_weighted(self, index: int) -> Iterator[int]:
        """The layers of weights that read layer `index` through linear operations."""
        seen = {index}
        pending = list(self.readers[index])
        while pending:
            reader = pending.pop(0)
            if reader in seen:
                continue
            seen.add(reader)
            layer = self.layers[reader]
            if layer.class_name in AFFINE:
                yield reader
            elif self._passes_linearly(reader):
                pending += self.readers[reader]

    def _is_read_otherwise(self, index: int) -> bool:
        """Whether layer `index` also reaches something non-linear first, as the stem of a residual
        network does, whose shortcut alone is linear."""
        seen = {index}
        pending = list(self.readers[index])
        while pending:
            reader = pending.pop(0)
            if reader in seen or self.layers[reader].class_name in AFFINE:
                continue
            seen.add(reader)
            if not self._passes_linearly(reader):
                return True
            pending += self.readers[reader]
        return False

    def _passes_linearly(self, index: int) -> bool:
        layer = self.layers[index]
        if layer.custom or layer.class_name not in _LINEAR:
            return False
        # Summed or joined with something non-linear, a linear branch adds what the other lacks.
        return layer.class_name not in _MERGES or index in self._linear_of_inputs

    def met_first(self, index: int) -> tuple[int, ...]:
        """The first layers on the way from layer `index` that do more than reshape, drop or
        augment."""
        return tuple(reader for reader in self._reached(index) if not self._passes(reader))

    def augmented_by_range(self, index: int) -> tuple[LayerRecord, ...]:
        """The augmentation in front of those layers that is set for a range of values."""
        passed = (self.layers[reader] for reader in self._reached(index) if self._passes(reader))
        return tuple(layer for layer in passed if layer.class_name in BY_RANGE)

    def _reached(self, index: int) -> list[int]:
        """The readers of layer `index`, and of those among them that pass on what they read."""
        reached = [index]
        for layer in reached:
            if layer == index or self._passes(layer):
                reached += [r for r in dict.fromkeys(self.readers[layer]) if r not in reached]
        return reached[1:]

    def _passes(self, index: int) -> bool:
        layer = self.layers[index]
        return not layer.custom and layer.class_name in _PASSED

    def normalized_behind(self, index: int) -> bool:
        """Whether the scale of layer `index`'s output is divided out on every way to the heads.

        True when only layers that carry a factor through unchanged (linear ones, the ReLU family,
        maxima) stand between it and a normalization.
        """
        readers = self.readers[index]
        return (
            _carries_scale(self.layers[index])
            and bool(readers)
            and all(
                self.layers[reader].class_name in NORMALIZATION or self.normalized_behind(reader)
                for reader in readers
            )
        )

    @cached_property
    def hidden_softmaxes(self) -> tuple[LayerRecord, ...]:
        """Layers of weights with a softmax whose output the next layer of weights reads."""
        heads = {output.layer for output in self.setup.model.outputs}
        return tuple(
            layer
            for index, layer in enumerate(self.layers)
            if layer.activation == "softmax"
            and index not in heads
            and layer.class_name in AFFINE
            and not layer.custom
            and any(True for _ in self._next_weighted(index))
        )

    @cached_property
    def saturating_runs(self) -> tuple[tuple[LayerRecord, ...], ...]:
        """Longest chains of hidden layers with a saturating activation and no normalization."""
        heads = {output.layer for output in self.setup.model.outputs}
        longest: dict[int, tuple[int, ...]] = {}
        for index, layer in enumerate(self.layers):
            before = max((longest.get(source, ()) for source in layer.inbound), key=len, default=())
            if layer.class_name in NORMALIZATION | RECURRENT or layer.class_name in _MERGES:
                longest[index] = ()
            elif layer.activation in SATURATING and index not in heads:
                longest[index] = (*before, index)
            elif _is_affine(layer) or layer.class_name in _LINEAR | _MAXIMA:
                longest[index] = before
            else:
                longest[index] = ()
        ends = [
            chain
            for index, chain in longest.items()
            if chain
            and chain[-1] == index
            and not any(
                len(longest.get(later, ())) > len(chain) and longest[later][: len(chain)] == chain
                for later in longest
            )
        ]
        return tuple(tuple(self.layers[index] for index in chain) for chain in ends)


def _numbers(shape: tuple[int | None, ...] | None) -> int | None:
    """How many numbers a tensor of this shape holds for each example, where that is fixed."""
    sizes = [size for size in shape[1:] if size is not None] if shape else []
    return math.prod(sizes) if shape and len(sizes) == len(shape) - 1 else None


def _is_affine(layer: LayerRecord) -> bool:
    return layer.class_name in AFFINE and not layer.custom and layer.activation == "linear"


def _mixes_channels(layer: LayerRecord) -> bool:
    groups = layer.config.get("groups", 1)
    return layer.class_name in AFFINE and not layer.custom and groups == 1


def _is_bottleneck(pair: LinearPair) -> bool:
    kernel = pair.first.kernel
    narrow, after = pair.first.units, pair.second.units
    if kernel is None or narrow is None or after is None:
        return False
    wide = kernel.shape[-2]
    pointwise_convolution = len(kernel.shape) > 2 and set(kernel.shape[:-2]) == {1}
    return narrow < after and (narrow < wide or (pointwise_convolution and narrow == wide))


def _carries_scale(layer: LayerRecord) -> bool:
    if layer.custom:
        return False
    if layer.class_name in {"ReLU", "LeakyReLU", "PReLU"} | _MAXIMA | (_LINEAR - {"Rescaling"}):
        return True
    homogeneous = {"linear", "relu", "leaky_relu"}
    return layer.class_name in AFFINE | {"Activation"} and layer.activation in homogeneous
