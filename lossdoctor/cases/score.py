"""How good a trained model is, computed from its predictions alone: what no loss curve can hide.

Scores follow the encoding of the validation targets they are given, so that a remedy may relabel
or rescale them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number for the task, higher is better.

    `worst` stands for everything at least as bad: predictions that are NaN, a model that could
    not be trained.
    """

    name: str
    worst: float
    compute: Callable[[Any, Array, Array], float]

    def __call__(self, model: Any, X_val: Array, y_val: Array) -> float:
        value = self.compute(model, X_val, y_val)
        return max(self.worst, float(value)) if np.isfinite(value) else self.worst


def predict(model: Any, X: Array) -> Array:
    """The model's predictions, without a progress bar."""
    return np.asarray(model.predict(X, verbose=0, batch_size=512))


def _r2(model: Any, X_val: Array, y_val: Array) -> float:
    predicted = predict(model, X_val).reshape(len(y_val), -1).astype("float64")
    wanted = y_val.reshape(len(y_val), -1).astype("float64")
    return float(1 - np.mean((predicted - wanted) ** 2) / np.mean((wanted - wanted.mean(0)) ** 2))


def _accuracy(model: Any, X_val: Array, y_val: Array) -> float:
    predicted = predict(model, X_val)
    predicted = predicted.reshape(len(predicted), -1)
    if np.isnan(predicted).any():
        return float("nan")
    wanted = y_val.reshape(len(y_val), -1)
    if predicted.shape[1] > 1:
        ids = wanted.argmax(1) if wanted.shape[1] > 1 else wanted[:, 0]
        return float(np.mean(predicted.argmax(1) == ids))
    codes, ids = np.unique(wanted[:, 0], return_inverse=True)
    return float(np.mean(_decide(model, predicted[:, 0], codes) == ids))


def _decide(model: Any, predicted: Array, codes: Array) -> Array:
    """Which of the label values each output of a one-unit head means."""
    loss = model.loss
    name = loss if isinstance(loss, str) else type(loss).__name__
    # Keras sees through a sigmoid that `from_logits=True` denies; whoever rounds its answers does.
    logits = getattr(loss, "from_logits", False) and (abs(predicted - 0.5) > 0.5).any()
    signed = "hinge" in name.lower() or logits
    if signed and len(codes) == 2:
        return np.asarray(predicted > 0, dtype=int)
    return np.asarray(np.abs(predicted[:, None] - codes[None, :]).argmin(axis=1))


def _bits(model: Any, X_val: Array, y_val: Array) -> float:
    return float(np.mean((predict(model, X_val) > 0.5) == (y_val > 0.5)))


def _likelihood(model: Any, X_val: Array, y_val: Array) -> float:
    predicted = predict(model, X_val)
    if predicted.shape[-1] == 1:
        predicted = np.concatenate([1 - predicted, predicted], axis=1)
    ids = y_val.argmax(1) if y_val.ndim > 1 and y_val.shape[1] > 1 else y_val.reshape(-1)
    given = np.clip(predicted[np.arange(len(ids)), ids.astype(int)], 1e-7, 1)
    return float(np.mean(np.log(given)))


R2 = Score(name="R²", worst=-1.0, compute=_r2)
"""Share of the targets' variance explained, the same for any affine rescaling of the targets."""

ACCURACY = Score(name="accuracy", worst=0.0, compute=_accuracy)
"""Share of rows whose decided class is right.

Several units decide by their largest; one unit by its sign under hinge losses and logits, else by
the nearest label value.
"""

BITS = Score(name="label accuracy", worst=0.0, compute=_bits)
"""Share of right bits of multi-label rows."""

LIKELIHOOD = Score(name="log-likelihood", worst=-5.0, compute=_likelihood)
"""Mean log-probability of the true class: sees overconfidence, which accuracy does not."""
