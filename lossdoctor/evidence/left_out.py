"""Layers that a `train_step` of the user's own leaves as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Layers whose trainable weights a step that trains on the compiled loss never gives to the
    optimizer, and the share of the trainable parameters they hold.

    What a step with a loss of its own leaves out (a teacher, a target network) may be meant.
    """

    layers: tuple[str, ...]
    share: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        model = Setup.from_record(record).model
        if not model.custom_train_step or model.own_loss:
            raise NotApplicable("no train_step of your own trains on the compiled loss")
        if record.variables is None:
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        given = set(record.variables.paths)
        trained = sum(record.variables.sizes)
        left = [
            layer.name
            for layer in model.layers
            if any(weight.trainable and weight.path not in given for weight in layer.weights)
        ]
        if not left:
            raise NotApplicable("the run's train_step trains every trainable weight")
        share = 1 - trained / max(1, model.trainable_parameters)
        return cls(layers=tuple(dict.fromkeys(left)), share=share)
