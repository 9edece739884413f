"""Whether there are targets for every output that a loss judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class TargetCount:
    """The number of target arrays `given`, and of outputs with a loss, which need one each.

    `outputs` are the outputs' names, `loss_names` what compares them; `reconstructs`: the one
    output has the shape of the one input.
    """

    given: int
    outputs: tuple[str, ...]
    loss_names: str
    reconstructs: bool

    @property
    def wanted(self) -> int:
        """How many outputs need targets."""
        return len(self.outputs)

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        model, train = setup.model, record.train
        if model.own_loss:
            raise NotApplicable("the model computes its loss in its own way")
        if train is None or not train.rows:
            raise NotRecorded("the data: pass x and y, or run with LossDoctor()")
        if not record.losses or len(record.losses) != len(model.outputs):
            raise NotApplicable("not every output has a loss of its own")
        shapes = {output.shape[1:] for output in model.outputs}
        return cls(
            given=len(train.targets),
            outputs=tuple(output.name for output in model.outputs),
            loss_names=" and ".join(dict.fromkeys(loss.name for loss in record.losses)),
            reconstructs=[summary.shape for summary in train.inputs] == list(shapes),
        )
