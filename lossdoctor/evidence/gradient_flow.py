"""How large the gradient is that reaches each layer, against the one that reaches the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._owners import in_order, owners
from lossdoctor.evidence._sound import sound_rows
from lossdoctor.record.run import RunRecord, VariableSeries

Floats = NDArray[np.float64]

FEWEST_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class GradientFlow:
    """Gradient scale per layer, input first, head last, at the sampled finite steps.

    `scale` (S, L) is the root mean square over the entries of a gradient that are not exactly zero,
    of whichever of the layer's variables has the largest. So neither the size of a layer, nor the
    rows of an embedding no example used, nor the blank pixels of an image count as fading.
    """

    layers: tuple[str, ...]
    step: NDArray[np.int64]
    scale: Floats

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.variables
        if series is None or not len(series.step):
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        connected = np.asarray(series.connected, dtype=bool)
        rows = sound_rows(record) & np.isfinite(series.gradient_norm[:, connected]).all(axis=1)
        if not connected.any() or rows.sum() < FEWEST_STEPS:
            raise NotApplicable(f"fewer than {FEWEST_STEPS} sampled steps had finite gradients")
        names = np.asarray(owners(record, series))
        layers = in_order(names[connected], np.asarray(series.depth)[connected])
        if len(layers) < 2:
            raise NotApplicable("with a single trainable layer nothing can fade on the way")
        scale = _entry_scale(series)[rows]
        return cls(
            layers=layers,
            step=np.asarray(series.step, dtype=np.int64)[rows],
            scale=np.stack(
                [scale[:, (names == layer) & connected].max(axis=1) for layer in layers], axis=1
            ),
        )

    @property
    def head(self) -> str:
        """The trainable layer nearest to the output."""
        return self.layers[-1]

    @cached_property
    def ratio(self) -> Floats:
        """Each layer's scale over the head's; NaN at steps where either of them is zero."""
        head = self.scale[:, -1:]
        with np.errstate(all="ignore"):
            return np.where((self.scale > 0) & (head > 0), self.scale / head, np.nan)

    @cached_property
    def typical_ratio(self) -> Floats:
        """Each layer's median ratio; NaN for a layer that no gradient ever reached."""
        reached = ~np.isnan(self.ratio).all(axis=0)
        found = np.full(len(self.layers), np.nan)
        found[reached] = np.nanmedian(self.ratio[:, reached], axis=0)
        return found

    @property
    def first(self) -> int | None:
        """Index of the layer nearest to the input that any gradient reached."""
        reached = np.flatnonzero(~np.isnan(self.typical_ratio))
        return int(reached[0]) if len(reached) else None

    @property
    def attenuation(self) -> float:
        """How many times less gradient that first layer gets than the head (NaN if none)."""
        return float(1 / self.typical_ratio[self.first]) if self.first is not None else np.nan

    def starved(self, ratio: float) -> tuple[str, ...]:
        """The layers, from the input on, whose typical ratio is below `ratio`.

        Layers that no gradient reaches at all count in front of one that it barely reaches: there
        it has underflown. Elsewhere it did not fade, something cuts it off.
        """
        first = self.first
        if first is None or not self.typical_ratio[first] < ratio:
            return ()
        fed = np.flatnonzero(self.typical_ratio >= ratio)
        return self.layers[: int(fed[0])]

    def share_below(self, ratio: float) -> float:
        """Share of the steps at which the first layer's ratio is below `ratio`."""
        known = self.ratio[:, self.first or 0]
        known = known[~np.isnan(known)]
        return float(np.mean(known < ratio)) if len(known) else 0.0


def _entry_scale(series: VariableSeries) -> Floats:
    zeros = np.nan_to_num(np.asarray(series.gradient_zero_fraction, dtype=np.float64))
    entries = np.maximum(np.asarray(series.sizes) * (1.0 - zeros), 1.0)
    return np.asarray(series.gradient_norm, dtype=np.float64) / np.sqrt(entries)
