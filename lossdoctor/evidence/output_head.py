"""Each output's head beside its loss and its targets."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import (
    LayerRecord,
    LossRecord,
    ModelRecord,
    OutputRecord,
    RunRecord,
    TargetPairing,
    TensorSummary,
)

_INFINITY = math.inf

# The closure of what each activation can return, with Keras' default parameters.
_RANGES: dict[str, tuple[float, float]] = {
    "linear": (-_INFINITY, _INFINITY),
    "leaky_relu": (-_INFINITY, _INFINITY),
    "prelu": (-_INFINITY, _INFINITY),
    "tanh_shrink": (-_INFINITY, _INFINITY),
    "soft_shrink": (-_INFINITY, _INFINITY),
    "hard_shrink": (-_INFINITY, _INFINITY),
    "relu": (0.0, _INFINITY),
    "softplus": (0.0, _INFINITY),
    "squareplus": (0.0, _INFINITY),
    "exponential": (0.0, _INFINITY),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "sparse_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "sparsemax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "elu": (-1.0, _INFINITY),
    "celu": (-1.0, _INFINITY),
    "selu": (-1.7581, _INFINITY),
    "silu": (-0.2785, _INFINITY),
    "swish": (-0.2785, _INFINITY),
    "gelu": (-0.1701, _INFINITY),
    "mish": (-0.3088, _INFINITY),
    "hard_silu": (-0.375, _INFINITY),
    "hard_swish": (-0.375, _INFINITY),
    "log_softmax": (-_INFINITY, 0.0),
    "log_sigmoid": (-_INFINITY, 0.0),
}
_ELEMENTWISE_PROBABILITIES = {"sigmoid", "hard_sigmoid", "sparse_sigmoid"}
_DISTRIBUTIONS = {"softmax", "sparsemax"}
# Keras reads the logits behind these two, see `keras.ops.categorical_crossentropy`.
_KEEP_LOGITS = {"sigmoid", "softmax"}
_RECURRENT_LAYERS = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM2D"}
_PROBABILITY_TOLERANCE = 1e-5


class LossFamily(enum.Enum):
    """What kinds of targets and heads a Keras loss is made for."""

    BINARY = "one probability per entry"
    CATEGORICAL = "one-hot rows against a distribution"
    SPARSE = "class ids against a distribution"
    DIVERGENCE = "distributions against distributions"
    HINGE = "labels -1 and 1 against scores"
    CATEGORICAL_HINGE = "one-hot rows against scores"
    REGRESSION = "numbers"
    LOGARITHMIC = "non-negative numbers, compared by their logarithm"
    PERCENTAGE = "non-zero numbers, compared by their ratio"
    POISSON = "counts"
    DIRECTION = "vectors, compared by their angle"


_FAMILIES = {
    "binary_crossentropy": LossFamily.BINARY,
    "binary_focal_crossentropy": LossFamily.BINARY,
    "categorical_crossentropy": LossFamily.CATEGORICAL,
    "categorical_focal_crossentropy": LossFamily.CATEGORICAL,
    "categorical_generalized_cross_entropy": LossFamily.SPARSE,
    "sparse_categorical_crossentropy": LossFamily.SPARSE,
    "kl_divergence": LossFamily.DIVERGENCE,
    "hinge": LossFamily.HINGE,
    "squared_hinge": LossFamily.HINGE,
    "categorical_hinge": LossFamily.CATEGORICAL_HINGE,
    "mean_squared_error": LossFamily.REGRESSION,
    "mean_absolute_error": LossFamily.REGRESSION,
    "huber": LossFamily.REGRESSION,
    "log_cosh": LossFamily.REGRESSION,
    "mean_squared_logarithmic_error": LossFamily.LOGARITHMIC,
    "mean_absolute_percentage_error": LossFamily.PERCENTAGE,
    "poisson": LossFamily.POISSON,
    "cosine_similarity": LossFamily.DIRECTION,
}

CROSS_ENTROPIES = frozenset({LossFamily.BINARY, LossFamily.CATEGORICAL, LossFamily.SPARSE})
CLASS_LOSSES = frozenset(
    {
        *CROSS_ENTROPIES,
        LossFamily.DIVERGENCE,
        LossFamily.HINGE,
        LossFamily.CATEGORICAL_HINGE,
    }
)
ONE_UNIT_PER_CLASS = frozenset(
    {
        LossFamily.CATEGORICAL,
        LossFamily.SPARSE,
        LossFamily.DIVERGENCE,
        LossFamily.CATEGORICAL_HINGE,
    }
)
"""Losses under which each class has a unit of its own."""
NUMBER_LOSSES = frozenset(LossFamily) - CLASS_LOSSES


@dataclass(frozen=True, kw_only=True)
class Head:
    """One output: what it produces, the loss that judges it, the targets it is judged by.

    `layer` is the last layer with weights before it, `tail` the layers after that one. `targets`,
    `predictions` (after training), `initial_predictions` and `pairing` are None where they were
    not recorded.
    """

    index: int
    output: OutputRecord
    loss: LossRecord
    layer: LayerRecord | None
    tail: tuple[LayerRecord, ...] = ()
    targets: TensorSummary | None
    predictions: TensorSummary | None
    initial_predictions: TensorSummary | None
    pairing: TargetPairing | None

    @property
    def label(self) -> str:
        """How a message names the output: by its last layer, or by the output itself."""
        return f"layer '{self.layer.name}'" if self.layer else f"output '{self.output.name}'"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layer a finding about this head points at."""
        return (self.layer.name,) if self.layer else ()

    @property
    def activation(self) -> str | None:
        """What the head does last; None where it could not be determined."""
        return self.output.activation

    @property
    def units(self) -> int | None:
        """Size of the head's last axis; None where the model leaves it open."""
        return self.output.units

    @property
    def family(self) -> LossFamily | None:
        """What the loss is made for; None for the user's own and for rarer Keras losses."""
        return None if self.loss.custom else _FAMILIES.get(self.loss.name)

    @property
    def range(self) -> tuple[float, float] | None:
        """Lowest and highest value the head can produce; None for an unknown activation."""
        return _RANGES.get(self.output.activation or "")

    @property
    def is_softmax(self) -> bool:
        """The entries along the last axis are made to sum to 1."""
        return self.output.activation in _DISTRIBUTIONS

    @property
    def is_sigmoid(self) -> bool:
        """Every entry is a probability of its own."""
        return self.output.activation in _ELEMENTWISE_PROBABILITIES

    @property
    def is_probability(self) -> bool | None:
        """Whether the head returns probabilities: from its activation, else from what it was seen
        to predict; None where neither is known."""
        if self.output.activation in _RANGES:
            return self.is_softmax or self.is_sigmoid
        seen = self.predictions or self.initial_predictions
        if seen is None or math.isnan(seen.min):
            return None
        return seen.min >= -_PROBABILITY_TOLERANCE and seen.max <= 1 + _PROBABILITY_TOLERANCE

    @property
    def single_unit_softmax(self) -> bool:
        """A softmax over an axis of size 1, whose output is 1 whatever its input."""
        return self.output.activation == "softmax" and self.output.softmax_axis_size == 1

    @property
    def softmax_over_positions(self) -> bool:
        """A softmax over another axis than the last, which is that of the classes."""
        size = self.output.softmax_axis_size
        return self.output.activation == "softmax" and size not in (None, 1, self.units)

    @property
    def logits_reach_the_loss(self) -> bool:
        """Whether Keras finds the logits behind the head's probabilities, and uses them."""
        return (
            self.output.activation in _KEEP_LOGITS
            and self.family in CROSS_ENTROPIES
            and "focal" not in self.loss.name
            and self.output.dtype == "float32"
        )

    @property
    def reads_logits(self) -> bool:
        """The loss applies a softmax or sigmoid of its own."""
        return bool(self.loss.from_logits) or self.loss.with_logits

    @property
    def squashed_ceiling(self) -> float:
        """The highest probability a softmax or sigmoid of probabilities can return."""
        others = 1 if self.is_sigmoid else (self.units or 2) - 1
        return math.e / (math.e + others)

    @property
    def recurrent(self) -> bool:
        """The head is the recurrent layer itself, whose activation is part of its cell."""
        return self.layer is not None and self.layer.class_name in _RECURRENT_LAYERS

    @property
    def activation_layers(self) -> tuple[LayerRecord, ...]:
        """Layers after the last weighted one that only apply an activation."""
        return tuple(layer for layer in self.tail if layer.activation is not None)

    @property
    def learned(self) -> bool | None:
        """Whether the recorded predictions beat chance by far: at most half its error rate."""
        if self.pairing is None or self.pairing.error_rate is None:
            return None
        chance = self.pairing.chance_error_rate
        return None if not chance else self.pairing.error_rate <= chance / 2


@dataclass(frozen=True, kw_only=True)
class OutputHeads:
    """All outputs that have a loss, and the configuration they belong to."""

    heads: tuple[Head, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if not record.losses:
            raise NotRecorded.of(record, "the loss", "compile the model with loss=...")
        train = record.train
        heads = []
        for index, (output, loss) in enumerate(zip(setup.model.outputs, record.losses)):
            pairing = next((p for p in train.pairing if p.output == index), None) if train else None
            heads.append(
                Head(
                    index=index,
                    output=output,
                    loss=loss,
                    layer=setup.head_layer(index),
                    tail=_after(setup.model, output.layer),
                    targets=_nth(train.targets, index) if train else None,
                    predictions=_nth(train.predictions, index) if train else None,
                    initial_predictions=_nth(train.initial_predictions, index) if train else None,
                    pairing=pairing,
                )
            )
        return cls(heads=tuple(heads), setup=setup)

    def judged_by_keras(self) -> tuple[Head, ...]:
        """The heads under a Keras loss whose demands on head and labels are known.

        Raises:
            NotApplicable: If there is none, or the model computes its loss in its own way.
        """
        if own := self.setup.model.own_loss:
            raise NotApplicable(
                f"the model computes its loss in its own {own}, so what it asks of head and "
                "labels is not known"
            )
        known = tuple(head for head in self.heads if head.family is not None)
        if not known:
            names = ", ".join(f"'{head.loss.name}'" for head in self.heads)
            raise NotApplicable(f"what the loss {names} asks of head and labels is not known")
        return known


def _nth(summaries: tuple[TensorSummary, ...], index: int) -> TensorSummary | None:
    return summaries[index] if index < len(summaries) else None


def _after(model: ModelRecord, layer: int | None) -> tuple[LayerRecord, ...]:
    """Layers that read, directly or not, from layer number `layer`."""
    if layer is None or not model.graph_known:
        return ()
    reached = {layer}
    for index, candidate in enumerate(model.layers):
        if reached & set(candidate.inbound):
            reached.add(index)
    return tuple(model.layers[index] for index in sorted(reached - {layer}))
