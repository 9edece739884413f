"""The run's configuration, for rules that read it and remedies that rewrite it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.record.run import (
    FitRecord,
    LayerRecord,
    LossRecord,
    MetricRecord,
    ModelRecord,
    OptimizerRecord,
    RunRecord,
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Model, loss, metrics, optimizer and fit settings of a run whose model is known."""

    model: ModelRecord
    losses: tuple[LossRecord, ...]
    metrics: tuple[MetricRecord, ...]
    optimizer: OptimizerRecord | None
    fit: FitRecord

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.model is None:
            raise NotRecorded.of(
                record, "the model", "run with LossDoctor() or check_config(model, y)"
            )
        return cls(
            model=record.model,
            losses=record.losses,
            metrics=record.metrics or (),
            optimizer=record.optimizer,
            fit=record.fit or FitRecord(),
        )

    @property
    def known_loss_semantics(self) -> bool:
        """Whether the logged loss is the compiled Keras losses and nothing else."""
        return (
            bool(self.losses)
            and not any(loss.custom for loss in self.losses)
            and self.model.own_loss is None
        )

    @property
    def augments(self) -> bool:
        """Whether some layer changes the inputs at random while the model trains."""
        return any(
            layer.class_name.startswith(("Random", "RandAug", "AugMix")) and not layer.custom
            for layer in self.model.layers
        )

    def sides(self, data: str) -> list[str]:
        """The names of the user's arrays: `["X", "X_val"]` for "X", only `["X"]` where
        `validation_split` takes the validation rows from it."""
        return [data] if self.fit.validation_split else [data, f"{data}_val"]

    def known_sides(self, data: str) -> list[str]:
        """`sides(data)`, but only `[data]` where there is known to be no validation data."""
        # A run that ended before its first validation cannot tell that it has none.
        unreached = self.fit.stopped is not None and self.fit.completed_epochs == 0
        none = self.fit.has_validation is False and not unreached
        return [data] if none else self.sides(data)

    @property
    def non_finite_layers(self) -> tuple[str, ...]:
        """Layers whose weights already were NaN or infinite when the record was opened."""
        return tuple(
            layer.name
            for layer in self.model.layers
            if any(not math.isfinite(weight.mean) for weight in layer.weights)
        )

    def has_callback(self, class_name: str) -> bool:
        """Whether a callback of that class takes part in the run."""
        return any(callback.class_name == class_name for callback in self.fit.callbacks or ())

    @property
    def unread_inputs(self) -> list[str]:
        """Inputs of a functional model that no layer reads."""
        layers = self.model.layers
        read = {index for layer in layers for index in layer.inbound}
        inputs = self.model.inputs if self.model.graph_known and len(layers) > 1 else ()
        return [layers[index].name for index in inputs if index not in read]

    def head_layer(self, output: int = 0) -> LayerRecord | None:
        """The last layer with weights on the way to output number `output`."""
        index = self.model.outputs[output].layer if output < len(self.model.outputs) else None
        return None if index is None else self.model.layers[index]
