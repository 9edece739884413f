"""The loss of the same data in training and in inference mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord

MODES = {
    "BatchNormalization": "normalizes by the batch in training, by its running statistics after",
    "Dropout": "drops units in training only",
    "SpatialDropout1D": "drops units in training only",
    "SpatialDropout2D": "drops units in training only",
    "AlphaDropout": "drops units in training only",
    "GaussianDropout": "adds noise in training only",
    "GaussianNoise": "adds noise in training only",
}


@dataclass(frozen=True, kw_only=True)
class ModeGap:
    """Training rows in inference mode (`inference`) against the last epochs' loss (`training`).

    Both as positions between the floor (0) and a constant prediction's loss (1). `layers` are
    those that work differently in the two modes.
    """

    training: float
    inference: float
    swing: float
    layers: tuple[LayerRecord, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        baseline = Baseline.from_record(record)
        setup = Setup.from_record(record)
        if baseline.trained is None:
            raise NotRecorded.of(record, "the loss in inference mode", "run with LossDoctor()")
        if not math.isfinite(baseline.trained):
            raise NotApplicable("the loss in inference mode is not a finite number")
        layers = tuple(
            layer for layer in setup.model.layers if layer.class_name in MODES or layer.custom
        )
        if not layers:
            raise NotApplicable("no layer works differently in training and in inference mode")
        return cls(
            training=baseline.position(baseline.curve.end),
            inference=baseline.position(baseline.trained),
            swing=baseline.curve.swing / baseline.scale,
            layers=layers,
            setup=setup,
        )

    @property
    def gap(self) -> float:
        """By how much inference mode is worse."""
        return self.inference - self.training

    @property
    def normalizations(self) -> tuple[LayerRecord, ...]:
        """The batch normalizations among the layers."""
        return tuple(x for x in self.layers if x.class_name == "BatchNormalization")
