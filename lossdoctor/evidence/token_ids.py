"""Which ids an embedding is asked for, and which it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import DataRecord, LayerRecord, RunRecord, TensorSummary

_KEEPS_IDS = {"InputLayer", "Reshape", "Flatten", "Identity", "Permute", "RepeatVector"}


@dataclass(frozen=True, kw_only=True)
class EmbeddedInput:
    """One input and the embedding that looks its values up in its `rows` rows."""

    embedding: LayerRecord
    rows: int
    summary: TensorSummary
    validation: bool

    @property
    def outside(self) -> bool:
        """Whether some ids are not among the embedding's rows."""
        return self.summary.min < 0 or int(self.summary.max) >= self.rows


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Every input that an embedding reads as it is."""

    inputs: tuple[EmbeddedInput, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        readers = dict(_embeddings(setup))
        if not readers:
            raise NotApplicable("no embedding reads an input as it is")
        if record.train is None or not record.train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        sides = [(record.train, False)]
        sides += [(record.validation, True)] if record.validation else []
        return cls(
            inputs=tuple(
                EmbeddedInput(
                    embedding=embedding,
                    rows=int(embedding.config["input_dim"]),
                    summary=summary,
                    validation=validation,
                )
                for side, validation in sides
                for summary, embedding in _read(side, readers)
            ),
            setup=setup,
        )


def _read(
    side: DataRecord, readers: dict[int, LayerRecord]
) -> Iterator[tuple[TensorSummary, LayerRecord]]:
    for index, summary in enumerate(side.inputs):
        if index in readers and summary.min == summary.min:
            yield summary, readers[index]


def _embeddings(setup: Setup) -> Iterator[tuple[int, LayerRecord]]:
    """Each input's number and the embedding that reads it."""
    layers = setup.model.layers
    if not setup.model.inputs:
        if setup.model.kind == "sequential" and layers and _is_embedding(layers[0]):
            yield 0, layers[0]
        return
    for layer in layers:
        if _is_embedding(layer) and len(layer.inbound) == 1:
            source = layer.inbound[0]
            while layers[source].class_name in _KEEPS_IDS and len(layers[source].inbound) == 1:
                source = layers[source].inbound[0]
            if source in setup.model.inputs:
                yield setup.model.inputs.index(source), layer


def _is_embedding(layer: LayerRecord) -> bool:
    return layer.class_name == "Embedding" and isinstance(layer.config.get("input_dim"), int)
