"""Units that no example of an epoch sends any gradient to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._owners import layers_by_name, owners
from lossdoctor.evidence._sound import first_non_finite_epoch
from lossdoctor.evidence.onset import Onset
from lossdoctor.record.run import LayerRecord, RunRecord

LAST_EPOCHS = 5
_PASSING = {"BatchNormalization", "LayerNormalization", "GroupNormalization", "Dropout"}


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """One layer's units.

    `dead` is the share without gradient all through each of the last epochs, `dead_first` the
    share in the first epoch, `onset` the first epoch from which on at least half were dead.
    `zero_kernel` says that the layer's kernel began at zero, `bias_mean` and `kernel_std` what its
    weights began with.
    """

    layer: str
    units: int
    activation: str | None
    dead: float
    dead_first: float
    onset: Onset | None
    is_head: bool
    zero_kernel: bool
    bias_mean: float
    kernel_std: float

    @property
    def died(self) -> Onset | None:
        """When most units died, if most were alive in the first epoch."""
        return self.onset if self.dead_first < 0.5 else None


@dataclass(frozen=True, kw_only=True)
class UnitActivity:
    """The units of all watched layers, input first, head last."""

    layers: tuple[LayerActivity, ...]

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.units
        if series is None or not len(series.epoch) or not series.layers:
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        if record.variables is None and record.model and record.model.custom_train_step:
            raise NotApplicable("the custom train_step does not train all units in every step")
        broken = first_non_finite_epoch(record)
        epochs = np.asarray(series.epoch)
        sound = epochs < broken if broken is not None else np.ones(len(epochs), dtype=bool)
        if not sound.any():
            raise NotApplicable("the run was non-finite before its first epoch ended")
        dead = np.asarray(series.dead_fraction, dtype=np.float64)[sound]
        known = layers_by_name(record)
        heads, cut_off = _heads(record), _disconnected(record)
        found = []
        for column, (name, units) in enumerate(zip(series.layers, series.units)):
            layer = known.get(name)
            if name in cut_off or (layer is not None and not layer.trainable):
                continue
            found.append(
                LayerActivity(
                    layer=name,
                    units=units,
                    dead=float(dead[-LAST_EPOCHS:, column].min()),
                    dead_first=float(dead[0, column]),
                    onset=_onset(epochs[sound], dead[:, column]),
                    is_head=name in heads,
                    activation=_activation(record, layer),
                    **_beginning(layer),
                )
            )
        if not found:
            raise NotApplicable("no trainable layer whose units are watched takes part in the loss")
        return cls(layers=tuple(found))

    @cached_property
    def hidden(self) -> tuple[LayerActivity, ...]:
        """All layers but the heads."""
        return tuple(layer for layer in self.layers if not layer.is_head)

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The layers, heads included, all of whose units are dead."""
        return tuple(layer.layer for layer in self.layers if layer.dead == 1)

    @property
    def silent_head(self) -> LayerActivity | None:
        """The (first) head, if no head gets any gradient: then no layer before it can."""
        heads = [layer for layer in self.layers if layer.is_head]
        return heads[0] if heads and all(head.dead == 1 for head in heads) else None

    @cached_property
    def blocked_at(self) -> LayerActivity | None:
        """The hidden layer nearest to the head whose units are all dead: it cuts off the others."""
        return next((layer for layer in reversed(self.hidden) if layer.dead == 1), None)

    @property
    def killed(self) -> bool:
        """Whether some hidden layer lost all of its units after an epoch that most were alive in:
        only the steps can have taken them there."""
        return any(layer.dead == 1 and layer.died is not None for layer in self.hidden)

    def above(self, share: float) -> tuple[LayerActivity, ...]:
        """The hidden layers with more than `share` of their units dead."""
        return tuple(layer for layer in self.hidden if layer.dead > share)


def _beginning(layer: LayerRecord | None) -> dict[str, Any]:
    """What the layer's weights were before the first step."""
    kernel = layer.kernel if layer else None
    bias = layer.bias if layer else None
    return {
        "zero_kernel": kernel is not None and kernel.abs_max == 0,
        "bias_mean": bias.mean if bias else 0.0,
        "kernel_std": kernel.std if kernel else 0.0,
    }


def _disconnected(record: RunRecord) -> set[str]:
    """Layers the loss has no gradient for: that is another fault than dead units."""
    series = record.variables
    if series is None:
        return set()
    names = owners(record, series)
    reached = {name for name, connected in zip(names, series.connected) if connected}
    return set(names) - reached


def _heads(record: RunRecord) -> set[str]:
    if record.model is None:
        return set()
    indices = {output.layer for output in record.model.outputs}
    return {record.model.layers[i].name for i in indices if i is not None}


def _activation(record: RunRecord, layer: LayerRecord | None) -> str | None:
    """The layer's own activation, or that of the activation layer behind it."""
    model = record.model
    if layer is None or model is None:
        return None
    if layer.activation not in (None, "linear"):
        return layer.activation
    index = model.layers.index(layer)
    while True:
        readers = [i for i, other in enumerate(model.layers) if index in other.inbound]
        if len(readers) != 1 or readers[0] <= index:
            return layer.activation
        index = readers[0]
        reader = model.layers[index]
        if not reader.weights and reader.activation is not None:
            return reader.activation
        if reader.class_name not in _PASSING:
            return layer.activation


def _onset(epochs: NDArray[np.int64], dead: NDArray[np.float64]) -> Onset | None:
    alive = np.flatnonzero(dead < 0.5)
    start = int(alive[-1]) + 1 if len(alive) else 0
    return Onset(epoch=int(epochs[start])) if start < len(epochs) else None
