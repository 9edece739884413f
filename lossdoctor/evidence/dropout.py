"""Where a model drops units, and how many it leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.outliers import SQUARED
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord

_LAYERS = {"Dropout", "AlphaDropout", "GaussianDropout"} | {
    f"SpatialDropout{rank}D" for rank in (1, 2, 3)
}
_RECURRENT_RATES = ("dropout", "recurrent_dropout")


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """One place where units are dropped.

    `setting` is the argument that holds the rate, `units` how many there are to drop from (None
    where not known), `behind_head` whether nothing but the output follows.
    """

    layer: LayerRecord
    setting: str
    rate: float
    units: int | None
    behind_head: bool

    @property
    def kept(self) -> float | None:
        """How many units are left on average."""
        return None if self.units is None else self.units * (1 - self.rate)

    @property
    def amplification(self) -> float:
        """By what the units left are multiplied."""
        return 1 / (1 - self.rate) if self.rate < 1 else math.inf


@dataclass(frozen=True, kw_only=True)
class DropoutUse:
    """Every place where the model drops units in training and keeps them in inference.

    `noise` is the variance that they add together to a sum over the units, in units of that sum's
    own square: rate / (1 - rate) / units each; `squared` whether a squared distance counts it.
    """

    places: tuple[Dropped, ...]
    noise: float
    squared: bool
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        places = []
        for index, layer in enumerate(setup.model.layers):
            # A subclass of one's own that drops in inference too is Monte-Carlo dropout, meant.
            if layer.custom:
                continue
            settings = ("rate",) if layer.class_name in _LAYERS else _RECURRENT_RATES
            for setting in settings:
                rate = layer.config.get(setting)
                if isinstance(rate, (int, float)) and rate > 0:
                    places.append(_place(layer, index, setting, float(rate), setup))
        if not places:
            raise NotApplicable("the model has no dropout")
        return cls(
            places=tuple(places),
            noise=sum(
                place.rate * place.amplification / place.units for place in places if place.units
            ),
            squared=any(loss.name in SQUARED and not loss.custom for loss in setup.losses),
            setup=setup,
        )


def _place(layer: LayerRecord, index: int, setting: str, rate: float, setup: Setup) -> Dropped:
    own = setting == "rate"
    shape = layer.input_shape if own else layer.output_shape
    head = max((o.layer for o in setup.model.outputs if o.layer is not None), default=None)
    return Dropped(
        layer=layer,
        setting=setting,
        rate=rate,
        units=shape[-1] if shape else None,
        behind_head=own and head is not None and _comes_from(head, index, setup),
    )


def _comes_from(head: int, index: int, setup: Setup) -> bool:
    seen, pending = set[int](), [index]
    while pending:
        source = pending.pop()
        if source == head:
            return True
        if source not in seen:
            seen.add(source)
            pending += setup.model.layers[source].inbound
    return False
