"""The training loss over epochs and over sampled steps: where it ends and where it heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence._trend import NO_TREND, Trend, rolling_median, trend
from lossdoctor.evidence.dropout import DropoutUse
from lossdoctor.record.run import NonFiniteOrigin, RunRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TAIL_SHARE = 0.1
WIDEST_TAIL = 20
FEWEST_EPOCHS = 8
FEWEST_IN_TAIL = 6
FEWEST_STEPS = 8
ALTERNATING = 0.4
STEADY_STEPS = 5
STEADY_SPREAD = 0.3
EXPLODES = 10.0
CLIMB_EPOCHS = 3
TINY = 1e-12
MARGIN = 0.5
MOST_CLASSES = 10
AT_CHANCE = 0.003
FAR_FROM_CHANCE = 0.2
NOISE_MARGIN = 2.0
DATA_SOURCES = ("inputs", "targets", "sample_weight")


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """The training loss up to its first non-finite value.

    `loss` holds the average of each epoch in `epoch`, `step_loss` the batch loss at each sampled
    step (none in a history), both without the penalties where those were recorded.
    `unknown_meaning` says why the loss' value cannot be judged (custom losses); None if it can.
    """

    epoch: Ints
    loss: Floats
    penalty: Floats
    step: Ints
    step_loss: Floats
    learning_rate: float | None
    steps_per_epoch: float | None
    total_steps: int | None
    non_finite: Moment | None
    origin: NonFiniteOrigin | None
    validation_non_finite: Moment | None
    """From when on the validation loss is not finite to the end, where the training loss is."""
    hidden_penalty: bool
    """Whether the curve contains penalties nobody recorded."""
    unknown_meaning: str | None
    masking_noise: float = 0.0
    """Standard error of an epoch's loss from the units dropped at random; 0 without dropout."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        epoch, logged = _logged_loss(record)
        step, batch_loss, step_epoch = _sampled_loss(record)
        if not len(logged) and not len(batch_loss):
            raise NotRecorded.of(
                record, "the training loss", "train with LossDoctor(), or pass logs with 'loss'"
            )
        penalty = _penalty(record, len(logged))
        end = _first_non_finite(logged)
        step_end = _first_non_finite(batch_loss)
        loss = logged[:end] - (penalty[:end] if len(penalty) else 0.0)
        step_loss = batch_loss[:step_end]
        if len(penalty):
            step_loss = step_loss - penalty[np.minimum(step_epoch[:step_end], len(penalty) - 1)]
        total = record.steps.total_steps if record.steps else None
        return cls(
            epoch=epoch[:end],
            loss=loss,
            penalty=penalty[:end],
            step=step[:step_end],
            step_loss=step_loss,
            learning_rate=_learning_rate(record),
            steps_per_epoch=_steps_per_epoch(record, len(logged)),
            total_steps=total,
            non_finite=_onset(record, epoch[end:], step[step_end:], step_epoch[step_end:]),
            origin=record.non_finite,
            validation_non_finite=_lost_validation(record),
            hidden_penalty=bool(record.model and record.model.added_losses and not len(penalty)),
            unknown_meaning=_unknown_meaning(record, logged),
            masking_noise=_masking_noise(record, len(logged)),
        )

    def require_known_meaning(self) -> None:
        """Raise `NotApplicable` where a high or rising value need not be bad."""
        if self.unknown_meaning:
            raise NotApplicable(self.unknown_meaning)

    def require_finite_part(self) -> None:
        """Raise `NotApplicable` where the loss was never finite."""
        if not len(self.loss) and not len(self.step_loss):
            raise NotApplicable("the loss was never finite")

    @property
    def blew_up(self) -> bool:
        """Whether the loss stopped being finite although the data it was computed from was."""
        bad_data = self.origin is not None and self.origin.source in DATA_SOURCES
        return self.non_finite is not None and not bad_data

    @property
    def fall(self) -> float:
        """By how much the last epoch's loss lies below the first one's."""
        return float(self.loss[0] - self.loss[-1]) if len(self.loss) else 0.0

    @property
    def climb(self) -> float:
        """The last finite epoch over the lowest one, if the last epochs climb; else 0."""
        last = self.loss[-CLIMB_EPOCHS:]
        if len(last) < CLIMB_EPOCHS - 1 or np.any(np.diff(last) <= 0) or last[-1] <= 0:
            return 0.0
        return float(last[-1] / max(self.loss.min(), TINY * last[-1]))

    def surge(self, baseline: float) -> float:
        """The highest loss of a step over that of the first one, or over `baseline` if higher."""
        if not len(self.step_loss):
            return 1.0
        start = max(float(self.step_loss[0]), baseline)
        return float(self.step_loss.max()) / start if start > 0 else 1.0

    @property
    def explosion(self) -> float:
        """The last finite losses over the first one: of single steps, else of epochs."""
        series = self.step_loss if len(self.step_loss) else self.loss
        if not len(series) or series[0] <= 0:
            return 0.0
        return float(np.median(series[-3:]) / series[0])

    @property
    def tail_width(self) -> int:
        """How many of the last epochs are averaged for the loss "at the end"."""
        return max(1, min(WIDEST_TAIL, int(len(self.loss) * TAIL_SHARE)))

    @cached_property
    def smooth(self) -> Floats:
        """Rolling median of the epochs' loss, so that a single spike is neither best nor end."""
        return rolling_median(self.loss, self.tail_width) if len(self.loss) else np.empty(0)

    @property
    def first(self) -> float:
        """The loss of the first epoch, or of the first step where no epoch was completed."""
        return float(self.loss[0]) if len(self.loss) else float(self.step_loss[0])

    @property
    def first_step_loss(self) -> float:
        """The loss of the first recorded batch."""
        return float(self.step_loss[0])

    @property
    def lowest(self) -> float:
        """The lowest loss of any epoch or recorded step."""
        return float(np.concatenate([self.loss, self.step_loss]).min(initial=math.inf))

    @property
    def end(self) -> float:
        """The typical loss of the last epochs."""
        if len(self.smooth):
            return float(self.smooth[-1])
        return float(np.median(self.step_loss[-FEWEST_STEPS:]))

    @property
    def best(self) -> float:
        """The lowest typical loss of any stretch of epochs."""
        if len(self.smooth):
            return float(self.smooth.min())
        return float(rolling_median(self.step_loss, FEWEST_STEPS).min())

    @property
    def best_epoch(self) -> int:
        """The (first) epoch of the lowest typical loss."""
        if not len(self.smooth):
            return 0
        return int(self.epoch[int(np.argmin(self.smooth)) + (self.tail_width - 1) // 2])

    @cached_property
    def since_best(self) -> Trend:
        """Trend from the best epoch to the end, per epoch."""
        if not len(self.smooth):
            return NO_TREND
        start = int(np.argmin(self.smooth))
        return trend(self.epoch[start:], self.loss[start:])

    @property
    def shows_trend(self) -> bool:
        """Whether there are enough epochs, or steps, to tell a trend at the end from chance."""
        return len(self.loss) >= FEWEST_EPOCHS or len(self.step) >= 2 * FEWEST_STEPS

    @cached_property
    def tail(self) -> Trend:
        """Trend over the last third of the run, per epoch.

        In a run of few epochs that of single steps, over its last two thirds.
        """
        if len(self.loss) >= FEWEST_EPOCHS:
            start = min(len(self.loss) * 2 // 3, len(self.loss) - FEWEST_IN_TAIL)
            return trend(self.epoch[start:], self.loss[start:])
        if self.steps_per_epoch and len(self.step) >= 2 * FEWEST_STEPS:
            late = self.step >= self.step[-1] / 3
            return trend(self.step[late] / self.steps_per_epoch, self.step_loss[late])
        return trend(self.epoch, self.loss)

    @property
    def gain_ahead(self) -> float:
        """What half as many epochs again would gain if the loss kept falling as it last did."""
        return -self.tail.slope * len(self.loss) / 2

    @cached_property
    def swing(self) -> float:
        """Typical jump between epochs in the second half of the run; 0 if they do not alternate.

        An epoch averages over all examples, so what is left of the draw of batches is small and
        jumps are the weights' own; unless units are dropped at random, which jumps must exceed.
        """
        jumps = np.diff(self.loss[len(self.loss) // 2 :])
        if len(jumps) < FEWEST_EPOCHS // 2:
            return 0.0
        turns = np.mean(np.sign(jumps[1:]) * np.sign(jumps[:-1]) < 0)
        swing = float(np.median(np.abs(jumps)))
        own = swing > NOISE_MARGIN * self.masking_noise
        return swing if own and turns >= ALTERNATING else 0.0

    @cached_property
    def growth(self) -> float | None:
        """The factor by which the loss grows per step where it grows steadily; else None.

        Full-batch gradient descent on a quadratic grows by (1 - learning rate x λ)² per step.
        """
        if len(self.step_loss) > STEADY_STEPS:
            steps, values = self.step, self.step_loss
        elif self.steps_per_epoch == 1:
            steps, values = self.epoch, self.loss
        else:
            return None
        return _steady_growth(steps, values)

    @property
    def chance_classes(self) -> int | None:
        """C where the loss never left ln C, that of uninformed predictions for C classes."""
        if not len(self.loss) or not 0 < self.best < math.log(MOST_CLASSES + 1):
            return None
        classes = max(2, round(math.exp(self.best)))
        chance = math.log(classes)
        stays = self.first < (1 + FAR_FROM_CHANCE) * chance
        return classes if stays and abs(self.best - chance) < AT_CHANCE * chance else None

    @property
    def stable_factor(self) -> float | None:
        """By what to multiply the learning rate of a run whose loss grows steadily, with a margin.

        Growth by r per step means learning rate x λ = 1 + √r, of which 2 is stable. Epochs of more
        than one step grow more than a step does, so that their r is on the safe side.
        """
        growth = self.growth or _steady_growth(self.epoch, self.loss)
        return None if growth is None else MARGIN * 2 / (1 + math.sqrt(growth))


def _logged_loss(record: RunRecord) -> tuple[Ints, Floats]:
    history = record.history
    if history is None or "loss" not in history.logs:
        return np.empty(0, dtype=np.int64), np.empty(0)
    return (
        np.asarray(history.epochs, dtype=np.int64),
        np.asarray(history.logs["loss"], dtype=np.float64),
    )


def _sampled_loss(record: RunRecord) -> tuple[Ints, Floats, Ints]:
    steps = record.steps
    if steps is None:
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=np.int64)
    # A step that loss scaling skipped changed nothing, and its loss says nothing of the weights.
    taken = ~np.asarray(steps.skipped, dtype=bool)
    return (
        np.asarray(steps.step, dtype=np.int64)[taken],
        np.asarray(steps.loss, dtype=np.float64)[taken],
        np.asarray(steps.epoch, dtype=np.int64)[taken],
    )


def _penalty(record: RunRecord, length: int) -> Floats:
    penalty = np.empty(0) if record.history is None else record.history.penalty
    known = length and len(penalty) == length
    return np.nan_to_num(np.asarray(penalty, dtype=np.float64)) if known else np.empty(0)


def _first_non_finite(values: Floats) -> int:
    bad = ~np.isfinite(values)
    return int(np.argmax(bad)) if bad.any() else len(values)


def _learning_rate(record: RunRecord) -> float | None:
    logged = np.empty(0) if record.history is None else record.history.learning_rate
    if len(logged) and math.isfinite(logged[0]):
        return float(logged[0])
    return record.optimizer.learning_rate if record.optimizer else None


def _steps_per_epoch(record: RunRecord, logged: int) -> float | None:
    if record.fit and record.fit.steps_per_epoch:
        return float(record.fit.steps_per_epoch)
    if record.steps and logged:
        return record.steps.total_steps / logged
    if record.train and record.train.batches:
        return float(record.train.batches)
    return None


def _onset(record: RunRecord, epoch: Ints, step: Ints, step_epoch: Ints) -> Moment | None:
    """Where the loss stopped being finite, given what stands from there on."""
    if record.non_finite:
        return Moment(epoch=record.non_finite.epoch, step=record.non_finite.step)
    if len(step):
        return Moment(epoch=int(step_epoch[0]), step=int(step[0]))
    return Moment(epoch=int(epoch[0])) if len(epoch) else None


def _lost_validation(record: RunRecord) -> Moment | None:
    history = record.history
    if history is None or "val_loss" not in history.logs:
        return None
    finite = np.flatnonzero(np.isfinite(history.logs["val_loss"]))
    start = int(finite[-1]) + 1 if len(finite) else 0
    # With validation_freq > 1, as many epochs without a value as ever before mean nothing.
    gap = int(np.diff(finite).max()) if len(finite) > 1 else 1
    if len(history.logs["val_loss"]) - start < gap:
        return None
    return Moment(epoch=int(history.epochs[start]))


def _unknown_meaning(record: RunRecord, logged: Floats) -> str | None:
    model = record.model
    if model is None:
        if np.any(logged[np.isfinite(logged)] < 0):
            return "the loss is negative: it is unknown how low it can go, and what a rise means"
        return None
    if model.own_loss:
        return f"the model has its own {model.own_loss}, so what its loss means is unknown"
    if not record.losses:
        return "no loss was compiled, so what the logged one means is unknown"
    custom = next((loss.name for loss in record.losses if loss.custom), None)
    return (
        None
        if custom is None
        else f"what a high value of the custom loss '{custom}' means is unknown"
    )


def _masking_noise(record: RunRecord, logged: int) -> float:
    spread = np.empty(0) if record.steps is None else record.steps.epoch_loss_std
    late = spread[len(spread) // 2 :]
    late = late[np.isfinite(late)]
    steps = _steps_per_epoch(record, logged)
    if not len(late) or not steps:
        return 0.0
    try:
        DropoutUse.from_record(record)
    except NotApplicable:
        return 0.0
    return float(np.median(late)) / math.sqrt(steps)


def _steady_growth(steps: Ints, values: Floats) -> float | None:
    with np.errstate(all="ignore"):
        rates = np.diff(np.log(values)) / np.diff(steps)
    rates = rates[np.diff(steps) == 1]
    late = rates[-STEADY_STEPS:]
    if len(late) < STEADY_STEPS or not np.all(late > 0):
        return None
    low, middle, high = np.quantile(late, [0.25, 0.5, 0.75])
    return math.exp(middle) if high - low < STEADY_SPREAD * middle else None
