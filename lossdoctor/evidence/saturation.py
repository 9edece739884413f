"""Hidden layers whose activations stand in their flat tails after training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._owners import layers_by_name
from lossdoctor.evidence.architecture import RECURRENT
from lossdoctor.record.run import ActivationRecord, LayerRecord, RunRecord


@dataclass(frozen=True, kw_only=True)
class SaturatedLayer:
    """One hidden layer with flat tails.

    `share` of its outputs over the recorded rows lie there. `weighted` is the layer whose weights
    feed the activation, and `kernel_scale` the factor by which its kernel, as it began, enlarges an
    input of scale 1 (about 1 for a Glorot draw; 0 where there is none), `bias` the size of its
    biases as they began.
    """

    layer: str
    activation: str
    share: float
    weighted: str | None
    kernel_scale: float
    bias: float


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """All hidden layers whose activation has flat tails; heads and recurrent layers apart."""

    layers: tuple[SaturatedLayer, ...]

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if not record.activations:
            raise NotRecorded.of(record, "activations", "run a functional model with LossDoctor()")
        known = layers_by_name(record)
        heads = _at_or_behind_heads(record)
        found = tuple(
            _layer(record, known[seen.layer], seen)
            for seen in record.activations
            if seen.saturated_fraction is not None
            and seen.finite
            and seen.layer in known
            and seen.layer not in heads
            and known[seen.layer].class_name not in RECURRENT
        )
        if not found:
            raise NotApplicable("no hidden layer has an activation with flat tails")
        return cls(layers=found)

    def above(self, share: float) -> tuple[SaturatedLayer, ...]:
        """The layers with more than `share` of their outputs in the tails."""
        return tuple(layer for layer in self.layers if layer.share > share)


def _layer(record: RunRecord, layer: LayerRecord, seen: ActivationRecord) -> SaturatedLayer:
    assert record.model is not None
    weighted = layer
    while weighted.kernel is None and len(weighted.inbound) == 1:
        weighted = record.model.layers[weighted.inbound[0]]
    kernel = weighted.kernel
    scale = 0.0
    if kernel is not None:
        fan_in = math.prod(kernel.shape[:-1])
        scale = math.sqrt(fan_in * (kernel.std**2 + kernel.mean**2))
    return SaturatedLayer(
        layer=layer.name,
        activation=seen.activation or "",
        share=seen.saturated_fraction or 0.0,
        weighted=weighted.name if kernel is not None else None,
        kernel_scale=scale,
        bias=max(
            (math.hypot(w.mean, w.std) for w in weighted.weights if w.name == "bias"), default=0
        ),
    )


def _at_or_behind_heads(record: RunRecord) -> set[str]:
    """Names of the heads and of the activation layers that belong to them."""
    if record.model is None:
        return set()
    layers = record.model.layers
    behind = {output.layer for output in record.model.outputs if output.layer is not None}
    for index, layer in enumerate(layers):
        if not layer.weights and behind.intersection(layer.inbound):
            behind.add(index)
    return {layers[index].name for index in behind} | {o.name for o in record.model.outputs}
