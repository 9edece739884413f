"""Each output's head beside its loss and its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import (
    LayerRecord,
    LossRecord,
    OutputRecord,
    RunRecord,
    TargetPairing,
    TensorSummary,
)


@dataclass(frozen=True, kw_only=True)
class Head:
    """One output: what it produces, the loss that judges it, the targets it is judged by.

    `layer` is the last layer with weights before it. `targets`, `predictions` (after training),
    `initial_predictions` and `pairing` are None where they were not recorded.
    """

    index: int
    output: OutputRecord
    loss: LossRecord
    layer: LayerRecord | None
    targets: TensorSummary | None
    predictions: TensorSummary | None
    initial_predictions: TensorSummary | None
    pairing: TargetPairing | None

    @property
    def label(self) -> str:
        """How a message names the output: by its last layer, or by the output itself."""
        return f"layer '{self.layer.name}'" if self.layer else f"output '{self.output.name}'"


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
                    targets=_nth(train.targets, index) if train else None,
                    predictions=_nth(train.predictions, index) if train else None,
                    initial_predictions=_nth(train.initial_predictions, index) if train else None,
                    pairing=pairing,
                )
            )
        return cls(heads=tuple(heads), setup=setup)


def _nth(summaries: tuple[TensorSummary, ...], index: int) -> TensorSummary | None:
    return summaries[index] if index < len(summaries) else None
