"""How many values the statistics of each batch normalization rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.target_scale import planned_steps
from lossdoctor.record.run import LayerRecord, RunRecord

LAGGING = 0.05
"""Three time constants of the moving average."""


@dataclass(frozen=True, kw_only=True)
class BatchStatistics:
    """One trainable `BatchNormalization`.

    `values` is batch size × positions (an image of 8 × 8 gives each channel 64 values per
    example); `unsettled` the share of the moving statistics that is still their start of 0 and 1
    at the end of the run (None where its length is not known).
    """

    layer: LayerRecord
    values: int
    unsettled: float | None

    def unsettled_after(self, share: float) -> bool:
        """Whether more than a twentieth of the start would be left with `share` as many steps."""
        return self.unsettled is not None and self.unsettled**share > LAGGING


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Every batch normalization of the model, and the batch size.

    `alone` are the layers that normalize each example over a single value, which leaves 0.
    """

    layers: tuple[BatchStatistics, ...]
    alone: tuple[LayerRecord, ...]
    batch_size: int
    rows: int
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        found = [
            layer
            for layer in setup.model.layers
            if layer.class_name == "BatchNormalization" and layer.trainable
        ]
        alone = tuple(layer for layer in setup.model.layers if _normalizes_one(layer))
        if not found and not alone:
            raise NotApplicable("the model has no batch normalization that learns")
        size = (record.train.batch_size if record.train else None) or setup.fit.batch_size or 0
        if found and not size:
            raise NotRecorded("the batch size: pass batch_size= to check_config")
        steps = planned_steps(record)
        return cls(
            layers=tuple(
                BatchStatistics(
                    layer=layer,
                    values=size * _positions(layer),
                    unsettled=_unsettled(layer, steps),
                )
                for layer in found
            ),
            alone=alone,
            batch_size=size,
            rows=record.train.rows if record.train else 0,
            setup=setup,
        )


def _normalizes_one(layer: LayerRecord) -> bool:
    axes = layer.config.get("axis", -1)
    shape = layer.input_shape or layer.output_shape
    if layer.class_name != "LayerNormalization" or layer.custom or not shape:
        return False
    return all(shape[axis] == 1 for axis in (axes if isinstance(axes, list) else [axes]))


def _positions(layer: LayerRecord) -> int:
    shape = layer.output_shape or ()
    # Positions of unknown number (None) are taken for many: a sequence or an image has them.
    return math.prod(64 if size is None else size for size in shape[1:-1])


def _unsettled(layer: LayerRecord, steps: int | None) -> float | None:
    momentum = layer.config.get("momentum", 0.99)
    if steps is None or not isinstance(momentum, (int, float)):
        return None
    return float(momentum) ** steps
