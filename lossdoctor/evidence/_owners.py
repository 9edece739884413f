"""Which of the model's layers each recorded variable belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.record.run import LayerRecord, RunRecord, VariableSeries, WeightRecord


def owners(record: RunRecord, series: VariableSeries) -> tuple[str, ...]:
    """The name of the owning layer of every variable.

    The model's own list of weights decides, because a variable can live in a part its user never
    named (the cell of an LSTM); the series' own answer stands where the list does not know it.
    """
    layers = record.model.layers if record.model else ()
    by_path = {weight.path: layer.name for layer in layers for weight in layer.weights}
    return tuple(by_path.get(path, name) for path, name in zip(series.paths, series.layers))


def weights_by_path(record: RunRecord) -> dict[str, WeightRecord]:
    """Every weight of the model as it stood when the record was opened."""
    layers = record.model.layers if record.model else ()
    return {weight.path: weight for layer in layers for weight in layer.weights}


def layers_by_name(record: RunRecord) -> dict[str, LayerRecord]:
    """Every layer of the model by its name."""
    return {layer.name: layer for layer in record.model.layers} if record.model else {}


def in_order(names: Iterable[str], depth: Iterable[int]) -> tuple[str, ...]:
    """The distinct `names`, input first."""
    first: dict[str, int] = {}
    for name, position in zip(map(str, names), depth):
        first[name] = min(position, first.get(name, position))
    return tuple(sorted(first, key=lambda name: first[name]))
