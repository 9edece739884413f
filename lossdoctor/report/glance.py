"""The run at a glance: what was trained, on what, how, and how it ended."""

from __future__ import annotations

import numpy as np

from lossdoctor.record.run import DataRecord, RunRecord
from lossdoctor.report import wording


def glance(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """Label and value of everything known, in reading order."""
    rows = [
        ("Model", _model(record)),
        ("Loss", ", ".join(loss.name for loss in record.losses)),
        ("Metrics", ", ".join(metric.requested for metric in record.metrics or ())),
        ("Optimizer", _optimizer(record)),
        ("Training data", _data(record.train)),
        ("Validation data", _data(record.validation)),
        ("Epochs", _epochs(record)),
        ("Last epoch", _last_logs(record)),
        ("Recorded with", ", ".join(f"{name} {v}" for name, v in record.versions.items())),
    ]
    return tuple((label, value) for label, value in rows if value)


def _model(record: RunRecord) -> str:
    model = record.model
    if model is None:
        return ""
    weighted = sum(bool(layer.weights) for layer in model.layers)
    return (
        f"{model.name} ({model.class_name}), {wording.plural(weighted, 'layer')} with weights, "
        f"{wording.plural(model.parameters, 'parameter')}"
    )


def _optimizer(record: RunRecord) -> str:
    optimizer = record.optimizer
    if optimizer is None:
        return ""
    parts = [optimizer.class_name]
    if optimizer.learning_rate is not None:
        parts.append(f"learning rate {wording.number(optimizer.learning_rate)}")
    if optimizer.schedule:
        parts.append(optimizer.schedule)
    if optimizer.momentum:
        parts.append(f"momentum {wording.number(optimizer.momentum)}")
    return ", ".join(parts)


def _data(data: DataRecord | None) -> str:
    if data is None or not data.rows:
        return ""
    shapes = [f"{tensor.name} {tensor.shape}" for tensor in data.inputs]
    size = f"batches of {data.batch_size}" if data.batch_size else ""
    return ", ".join(filter(None, [wording.plural(data.rows, "example"), *shapes, size]))


def _epochs(record: RunRecord) -> str:
    if record.history is None:
        return ""
    done, planned = len(record.history.epochs), record.fit.epochs if record.fit else None
    stopped = record.fit.stopped if record.fit else None
    text = f"{done:,} of {planned:,}" if planned and planned != done else f"{done:,}"
    return f"{text} ({stopped})" if stopped else text


def _last_logs(record: RunRecord) -> str:
    if record.history is None:
        return ""
    last = {n: np.asarray(values)[-1] for n, values in record.history.logs.items() if len(values)}
    return ", ".join(f"{name} {wording.number(float(value))}" for name, value in last.items())
