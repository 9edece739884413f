"""How large the initial weights are beside what keeps signals at their size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import scipy.stats

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.architecture import AFFINE, NORMALIZATION, RECURRENT
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, RunRecord, WeightRecord

# Sampling error of a standard deviation over n draws is 1/√(2n); 6 of these never happen by chance.
_SAMPLING_ERRORS = 6.0
_FEWEST_DRAWS = 20
_FARTHEST_DRAW = 3.0
_BOUNDED = frozenset({"sigmoid", "hard_sigmoid", "tanh", "softsign", "hard_tanh", "softmax"})
COMPOUNDING = 2.0
"""Once one kernel is redrawn, so should be those this far outside: layers multiply."""
_RELU_FAMILY = {"relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish"}
_BY_CHANCE = 1e-4
"""How improbable the spread of a kernel must be; a model has a dozen kernels."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The kernel of one layer and the band of standard deviations that He, Glorot and LeCun span.

    `excess` is how many times the kernel's `reach` lies above that band, `shortfall` how many times
    its standard deviation lies below it (both at least 1, infinite for a kernel without spread).
    """

    layer: LayerRecord
    weight: WeightRecord
    fan_in: float
    low: float
    high: float
    hidden: bool
    follows_its_law: bool | None
    """Whether it looks like a draw of its initializer; None where the law's scale is a free
    choice, or the kernel is too small to tell and no bias is still at zero, as training ends."""
    recurrent: bool = False
    """Whether it carries a state from each time step to the next."""

    @property
    def is_constant(self) -> bool:
        """Every entry alike, zero included."""
        return self.weight.std <= 1e-6 * self.weight.abs_max

    @property
    def is_zero(self) -> bool:
        """Every entry zero."""
        return self.weight.abs_max == 0

    @property
    def bias(self) -> float:
        """Mean of the layer's biases."""
        return self.layer.bias.mean if self.layer.bias else 0.0

    @property
    def reach(self) -> float:
        """The standard deviation whose weights would make sums over inputs of one sign as large.

        Over n such inputs deviations add up as √n, a mean that is not zero as n.
        """
        return math.hypot(self.weight.std, math.sqrt(self.fan_in) * self.weight.mean)

    @property
    def excess(self) -> float:
        return max(1.0, self.reach / self.high)

    @property
    def shortfall(self) -> float:
        return max(1.0, self.low / self.weight.std) if self.weight.std > 0 else math.inf

    def lies_outside(self, times: float) -> bool:
        """Whether its entries, not all alike, spread `times` too much or too little, beyond chance.

        n·s²/σ² of n normal draws follows χ² with n - 1 degrees of freedom: two draws may lie as
        close together as they like. Their mean has the standard deviation σ/√n.
        """
        if self.is_constant or max(self.excess, self.shortfall) <= times:
            return False
        draws = math.prod(self.weight.shape)
        squares = draws * self.weight.std**2
        below = scipy.stats.chi2.cdf(squares / self.low**2, draws - 1)
        above = scipy.stats.chi2.sf(squares / self.high**2, draws - 1)
        aside = scipy.stats.norm.sf(abs(self.weight.mean) * math.sqrt(draws) / self.high)
        return bool(min(below, above, aside) < _BY_CHANCE)


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """The kernels of a model that has not been trained yet."""

    kernels: tuple[Kernel, ...]
    """The trainable ones, in the order of the layers."""
    frozen: tuple[Kernel, ...]
    recurrent: tuple[Kernel, ...]
    """The trainable kernels that carry a state from each time step to the next."""
    before_training: bool
    """Whether this is a configuration, not a run, whose own measurements tell more."""
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if setup.optimizer is not None and setup.optimizer.iterations > 0:
            raise NotApplicable(
                f"the optimizer had already taken {setup.optimizer.iterations:,} steps, so the "
                "weights are no longer the initial ones"
            )
        layers = setup.model.layers
        weighted = [
            index
            for index, layer in enumerate(layers)
            if layer.class_name in AFFINE | RECURRENT and layer.kernel is not None
        ]
        if not weighted:
            raise NotApplicable("the model has no dense, convolutional or recurrent kernel")
        heads = {output.layer for output in setup.model.outputs} - {None} or {weighted[-1]}
        kernels = [
            _kernel(layers[index], kernel, hidden=index not in heads)
            for index in weighted
            if (kernel := layers[index].kernel) is not None
        ]
        return cls(
            kernels=tuple(k for k in kernels if k.weight.trainable),
            frozen=tuple(k for k in kernels if not k.weight.trainable),
            recurrent=tuple(_recurrent_kernels(layers)),
            before_training=record.source == "config",
            setup=setup,
        )

    def outside(self, times: float) -> list[Kernel]:
        """The trainable kernels that spread `times` too much or too little."""
        return [kernel for kernel in self.kernels if kernel.lies_outside(times)]

    def enlarging(self, times: float) -> list[Kernel]:
        """The recurrent kernels that enlarge the state more than `times` at every time step."""
        return [k for k in self.recurrent if k.excess > times and k.lies_outside(times)]

    def alike(self, *, failed: bool) -> list[Kernel]:
        """The kernels without spread that hold a run back: all where nothing tells units apart,
        else zeros behind relu, else, in a run that failed, those of hidden layers."""
        constant = [
            k for k in self.kernels if k.hidden and k.is_constant and k.weight.shape[-1] > 1
        ]
        if constant and all(k.is_constant for k in self.kernels):
            return list(self.kernels)
        dead = [
            k for k in self.kernels if k.hidden and k.is_zero and k.layer.activation in _RELU_FAMILY
        ]
        return dead or (constant if failed else [])

    @property
    def frozen_at_random(self) -> tuple[Kernel, ...]:
        """The frozen kernels that hold a fresh draw of their initializer, and no knowledge."""
        return () if self.pretrained else tuple(k for k in self.frozen if k.follows_its_law)

    @property
    def growth(self) -> float:
        """By how much too far signals grow: the product of how many times the kernels lie above
        their bands, over the longest stretch without normalization or a bounded activation."""
        kernels = {id(kernel.layer): kernel for kernel in self.outside(COMPOUNDING)}
        largest = product = 1.0
        for layer in self.setup.model.layers:
            if id(layer) in kernels:
                product *= kernels[id(layer)].excess
                largest = max(largest, product)
            if layer.class_name in NORMALIZATION or layer.activation in _BOUNDED:
                product = 1.0
        return largest

    @property
    def pretrained(self) -> bool:
        """Whether some kernel cannot be a draw of its initializer, as after loading weights."""
        every = (*self.kernels, *self.frozen)
        return any(k.follows_its_law is False and not k.is_constant for k in every)


def fan(weight: WeightRecord) -> tuple[float, float]:
    """How many inputs an output sums over, and how many outputs read an input."""
    receptive = math.prod(weight.shape[:-2])
    return float(receptive * weight.shape[-2]), float(receptive * weight.shape[-1])


def _law_scales(fan_in: float, fan_out: float) -> dict[str, float]:
    """The standard deviation each law gives a kernel."""
    return {
        "Glorot": math.sqrt(2 / (fan_in + fan_out)),
        "He": math.sqrt(2 / fan_in),
        "Lecun": math.sqrt(1 / fan_in),
    }


def _kernel(layer: LayerRecord, weight: WeightRecord, *, hidden: bool) -> Kernel:
    fan_in, fan_out = fan(weight)
    scales = list(_law_scales(fan_in, fan_out).values())
    return Kernel(
        layer=layer,
        weight=weight,
        fan_in=fan_in,
        low=min(scales),
        high=max(scales),
        hidden=hidden,
        follows_its_law=_follows_its_law(weight, fan_in, fan_out, layer.bias),
    )


def _recurrent_kernels(layers: Sequence[LayerRecord]) -> Iterator[Kernel]:
    """Beside n units, independent weights of 1/√n keep the state's size, orthogonal ones as well.

    Those of an LSTM's or GRU's gates stand side by side: drawn together they are smaller.
    """
    for layer in layers:
        for weight in layer.weights:
            if weight.name == "recurrent_kernel" and weight.trainable and len(weight.shape) == 2:
                units, gates = weight.shape
                yield Kernel(
                    layer=layer,
                    weight=weight,
                    fan_in=float(units),
                    low=1 / math.sqrt(gates),
                    high=1 / math.sqrt(units),
                    hidden=True,
                    follows_its_law=_follows_its_law(weight, units, gates),
                    recurrent=True,
                )


def _follows_its_law(
    weight: WeightRecord, fan_in: float, fan_out: float, bias: WeightRecord | None = None
) -> bool | None:
    law = (weight.initializer or "").removesuffix("Normal").removesuffix("Uniform")
    expected = _law_scales(fan_in, fan_out).get(law)
    draws = math.prod(weight.shape)
    if expected is None:
        return None
    if draws < _FEWEST_DRAWS:
        untouched = bias is not None and bias.abs_max == 0
        return True if untouched and weight.abs_max <= _FARTHEST_DRAW * expected else None
    return abs(weight.std / expected - 1) <= _SAMPLING_ERRORS / math.sqrt(2 * draws)
