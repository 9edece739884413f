"""Diagnose after the fact: from whatever a run left behind to a record and a report."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from lossdoctor.record.run import RunRecord
from lossdoctor.report import Report
from lossdoctor.rules import Rule
from lossdoctor.sources._error import SourceError
from lossdoctor.sources.files import read_path
from lossdoctor.sources.history import read_history, read_logs

__all__ = ["SourceError", "diagnose", "read_source"]


def diagnose(
    source: Any, *, rules: Iterable[Rule] | None = None, ignore: Collection[str] = ()
) -> Report:
    """Diagnose a run that is over.

    Args:
        source: What the run left behind: the `History` that `fit` returned, its `history` dict
            (or a DataFrame made of it), a `RunRecord`, or the path to a saved record, to a
            `CSVLogger` file, to a history saved as JSON, to a TensorBoard event folder, to an
            MLflow run folder, or to MLflow's SQLite file.
        rules: Rules to run; all with their default thresholds if None.
        ignore: Slugs of rules to leave out.

    Returns:
        The report. A history alone decides only the rules about its curves; `report.outcomes`
        says what the others would need.

    Raises:
        ValueError: If `source` cannot be read as any of these, or names of rules are wrong.
        OSError: If a path cannot be opened.
    """
    return Report.of(read_source(source), rules, ignore)


def read_source(source: Any) -> RunRecord:
    """The record of a run from any of the sources `diagnose` takes.

    Raises:
        SourceError: If `source` cannot be read; the text says what to do.
        OSError: If a path cannot be opened.
    """
    if isinstance(source, RunRecord):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read_path(source)
    if isinstance(getattr(source, "history", None), dict) and hasattr(source, "epoch"):
        return read_history(source)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        source = source.to_dict(orient="list")
    if isinstance(source, dict):
        return read_logs(source)
    raise SourceError(
        "diagnose() takes the History returned by model.fit(), its `history` dict, a RunRecord, or "
        "the path to a saved record, a CSVLogger or JSON file, a TensorBoard or an MLflow folder. "
        f"Received: {source!r:.80} of type {type(source).__name__}."
    )
