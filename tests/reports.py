"""Build reports for tests of renderers, without rules and without training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lossdoctor.finding import Finding, Measurement, Onset, Outcome, Remedy, Severity, Stage
from lossdoctor.record.run import RunRecord
from lossdoctor.report import Report
from tests.records import config_record, history, mlp, run_record, steps, variables

CODE = 'model.compile(optimizer="sgd", loss="mse")\nmodel.summary()'


def finding(rule: str, severity: Severity = Severity.WARNING, **fields: Any) -> Finding:
    """A finding with every field filled, unless `fields` say otherwise."""
    return Finding(
        **{
            "rule": rule,
            "title": rule.replace("_", " ").capitalize(),
            "severity": severity,
            "stage": Stage.DATA,
            "message": f"The `{rule}` number is 0.35, above 0.1.",
            "measurements": (
                Measurement(
                    name="ratio", value=0.35, unit="‖Δw‖/‖w‖", threshold=0.1, fires="above"
                ),
                Measurement(name="baseline", value=0.6931),
            ),
            "remedies": (Remedy(text=f"Cure {rule}.", code=CODE), Remedy(text="Or do less.")),
            "layers": ("dense",),
            "onset": Onset(epoch=3, step=87),
            **fields,
        }
    )


def caused() -> tuple[Finding, ...]:
    """A cause, two generations below it, another cause, and a note."""
    return (
        finding("cause", Severity.ERROR, explains=("symptom", "late_symptom")),
        finding("symptom", explained_by="cause", explains=("late_symptom",)),
        finding("late_symptom", explained_by="symptom"),
        finding("other_cause"),
        finding("note", Severity.INFO, measurements=(), remedies=(), layers=(), onset=None),
    )


def outcome(rule: str, status: Any, reason: str = "") -> Outcome:
    """What became of a rule."""
    return Outcome(rule=rule, title=rule.replace("_", " "), status=status, reason=reason)


OUTCOMES = (
    outcome("dead_units", "clear"),
    outcome("overfitting", "clear"),
    outcome("class_imbalance", "not_applicable", "targets: pass y"),
    outcome("label_noise", "not_applicable", "targets: pass y"),
    outcome("validation_shift", "not_applicable", "validation data: pass validation_data="),
    outcome("metric_task", "ignored", "switched off by ignore="),
)


def report(
    findings: tuple[Finding, ...] = (),
    outcomes: tuple[Outcome, ...] = OUTCOMES,
    record: RunRecord | None = None,
) -> Report:
    """A report; the outcomes of its findings are added."""
    found = tuple(outcome(f.rule, "found") for f in findings)
    record = record or RunRecord(source="run")
    return Report(record=record, findings=findings, outcomes=(*found, *outcomes))


def full_record(layer: str = "dense", **fields: Any) -> RunRecord:
    """A run of which everything that can be drawn was recorded; one layer is named `layer`."""
    rng = np.random.default_rng(1)
    model = mlp(inputs=4, hidden=((8, "relu"), (8, "relu")), units=3, activation="softmax")
    layers = [dataclasses.replace(model.layers[1], name=layer)]
    model = dataclasses.replace(model, layers=(model.layers[0], *layers, *model.layers[2:]))
    x, y = rng.normal(size=(90, 4)) * [1, 1, 1, 1e4], np.arange(90) % 3
    record = config_record(
        model=model,
        loss="sparse_categorical_crossentropy",
        x=x,
        y=y,
        validation=(x[:30] + 1, y[:30]),
        baseline=1.0986,
    )
    loss = np.exp(-np.arange(20) / 5)
    return run_record(
        record,
        **{
            "history": history(loss=loss, val_loss=loss + 0.1, learning_rate=[0.01] * 20),
            "steps": steps(np.repeat(loss, 16)),
            "variables": variables(model),
            **fields,
        },
    )
