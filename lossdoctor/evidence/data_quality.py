"""What stands in the data that no model can learn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import DataRecord, History, RunRecord, TensorSummary

_READS_STRINGS = {"TextVectorization", "StringLookup", "Hashing", "HashedCrossing"}
_KINDS = {"inputs": "input", "targets": "target", "sample_weight": "weight"}
_WORDS_FOR_NOTHING = {"", "none", "nan", "<na>", "null"}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input, target or weight of one side of the data."""

    name: str
    kind: Literal["input", "target", "weight"]
    validation: bool
    index: int
    summary: TensorSummary

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers at all."""
        return not (self.summary.strings or self.summary.dtype in ("string", "object"))

    @property
    def holds_numerals(self) -> bool:
        """Whether every recorded string could be read as a number."""
        return bool(self.summary.strings) and all(map(_is_numeral, self.summary.strings))

    @property
    def bad_entries(self) -> int:
        """How many entries are NaN or infinite."""
        return self.summary.nan_count + self.summary.inf_count

    @property
    def bad_row_share(self) -> float:
        """Share of examples with such an entry."""
        return self.summary.nonfinite_row_count / max(self.summary.rows, 1)

    @property
    def bad_columns(self) -> tuple[str, ...]:
        """The columns these entries stand in, as the user knows them; () for a single column."""
        bad = np.flatnonzero(self.summary.feature_nonfinite)
        if len(self.summary.feature_nonfinite) < 2:
            return ()
        names = self.summary.feature_names
        return tuple(f"'{names[i]}'" if names else str(i) for i in bad)


@dataclass(frozen=True, kw_only=True)
class DataQuality:
    """Every tensor of the data, and whether the run stayed finite (None = not known)."""

    tensors: tuple[Tensor, ...]
    caught: tuple[Tensor, ...]
    """Training tensors whose bad entries were met by the step alone: in long epochs the batches
    are not all looked at in whole."""
    caught_at: Moment | None
    finite_training: bool | None
    """Every logged loss and every recorded gradient: relu turns NaN weights into a finite loss."""
    finite_validation: bool | None
    """Every validation loss too."""
    reads_strings: bool
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        tensors = (*_tensors(record.train, False), *_tensors(record.validation, True))
        if not tensors:
            raise NotRecorded.of(record, "the data", "pass x= and y= to check_config")
        trained, origin = _trained_finite(record), record.non_finite
        return cls(
            tensors=tensors,
            caught=_caught(record, tensors),
            caught_at=None if origin is None else Moment(origin.epoch, origin.step),
            finite_training=trained,
            finite_validation=trained and _stays_finite(record.history, "val_loss"),
            reads_strings=any(layer.class_name in _READS_STRINGS for layer in setup.model.layers),
            setup=setup,
        )


def _tensors(data: DataRecord | None, validation: bool) -> tuple[Tensor, ...]:
    if data is None:
        return ()
    weights = () if data.sample_weight is None else (data.sample_weight,)
    groups: tuple[tuple[Literal["input", "target", "weight"], str, tuple[TensorSummary, ...]], ...]
    groups = (
        ("input", "x", data.inputs),
        ("target", "y", data.targets),
        ("weight", "sample_weight", weights),
    )
    return tuple(
        Tensor(
            name=letter if len(summaries) == 1 else f"{letter}[{index}]",
            kind=kind,
            validation=validation,
            index=index,
            summary=summary,
        )
        for kind, letter, summaries in groups
        for index, summary in enumerate(summaries)
    )


def _caught(record: RunRecord, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    source = "" if record.non_finite is None else record.non_finite.source
    found = [t for t in tensors if not t.validation and t.kind == _KINDS.get(source)]
    return () if any(tensor.bad_entries for tensor in found) else tuple(found[:1])


def _trained_finite(record: RunRecord) -> bool | None:
    if record.non_finite is not None:
        return False
    if record.steps is not None and not record.steps.gradients_finite.all():
        return False
    return _stays_finite(record.history, "loss")


def _stays_finite(history: History | None, log: str) -> bool | None:
    values = None if history is None else history.logs.get(log)
    return None if values is None or not len(values) else bool(np.isfinite(values).all())


def _is_numeral(text: str) -> bool:
    if text.strip().lower() in _WORDS_FOR_NOTHING:
        return True
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
