"""Records from paths: what kind of file or folder it is shows in its contents, not its name."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.record.run import RunRecord
from lossdoctor.record.storage import FORMAT as RECORD_FORMAT
from lossdoctor.record.storage import is_record, loads
from lossdoctor.sources import mlflow, tensorboard
from lossdoctor.sources._error import SourceError
from lossdoctor.sources.history import read_logs, read_rows

_WAYS = (
    "lossdoctor reads records saved with doctor.record.save(path), CSVLogger files, histories "
    "saved as JSON, TensorBoard event folders, MLflow run folders and MLflow's SQLite file."
)
_SEPARATORS = ",;\t|"


def read_path(path: str | os.PathLike[str]) -> RunRecord:
    """The record of the run a file or folder holds.

    Raises:
        SourceError: If it holds none.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if path.parent.is_file() and mlflow.is_store(path.parent):
        return mlflow.read_run_of_store(path)
    if mlflow.is_store(path):
        return _read_store(path)
    if tensorboard.is_event_file(path):
        return tensorboard.read_files({"": [path]}, name=str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not a text file. {_WAYS}{_hint(path)}") from error
    if not text.strip():
        raise SourceError(f"{path} is empty: the run has not finished its first epoch. {_WAYS}")
    if is_record(text):
        return loads(text, name=str(path))
    if text.lstrip()[0] in "{[":
        return _read_json(text, str(path))
    return _read_csv(text, str(path))


def is_run_folder(path: Path) -> bool:
    """Whether the folder as a whole is one run."""
    return mlflow.is_run_folder(path) or bool(tensorboard.event_files(path))


def _read_folder(path: Path) -> RunRecord:
    if mlflow.is_run_folder(path):
        return mlflow.read_folder(path)
    if events := tensorboard.event_files(path):
        return tensorboard.read_files(events, name=str(path))
    raise SourceError(
        f"{path} is a folder without TensorBoard event files and without MLflow metrics. {_WAYS} "
        "For a folder of many runs, give the runs: lossdoctor diagnose "
        f"{path}{os.sep}*"
    )


def _read_store(path: Path) -> RunRecord:
    runs = mlflow.runs_of_store(path)
    if not runs:
        raise SourceError(f"{path} is an MLflow store without a run that logged metrics. {_WAYS}")
    record = mlflow.read_run_of_store(runs[-1])
    if len(runs) == 1:
        return record
    reason = f"{path} holds {len(runs)} runs; the one started last was read"
    return dataclasses.replace(record, not_recorded={"earlier runs": reason})


def runs_of_file(path: Path) -> list[Path]:
    """The runs in one file: those of an MLflow store, else the file itself."""
    if not mlflow.is_store(path):
        return [path]
    with contextlib.suppress(SourceError):  # `read_path` says what is wrong
        return mlflow.runs_of_store(path) or [path]
    return [path]


def _hint(path: Path) -> str:
    if path.suffix.lower() in {".keras", ".h5"}:
        return f" For a model, use: lossdoctor check {path.name} --data DATA.npz"
    return ""


def _read_json(text: str, name: str) -> RunRecord:
    try:
        document = json.loads(text)
    except ValueError as error:
        rows = _json_lines(text)
        if rows is None:
            raise SourceError(
                f"{name} starts like JSON but does not parse ({error}). {_WAYS}"
            ) from error
        document = rows
    if isinstance(document, Mapping):
        if document.get("format") == RECORD_FORMAT:
            return loads(text, name=name)
        if document.get("format") == "lossdoctor-report":
            raise SourceError(
                f"{name} is a report that LossDoctor wrote, not a run. Diagnose the record the "
                "report came from (report.record.save(path)) or its history."
            )
        inner = document.get("history")
        return _from_logs(inner if isinstance(inner, Mapping) else document, name)
    if isinstance(document, list) and document and all(isinstance(r, Mapping) for r in document):
        return _from_rows(document, name)
    raise SourceError(
        f"{name} holds JSON, but no history: neither a dict of lists such as "
        "{'loss': [0.9, 0.5]} nor a list with one dict per epoch. Write one with "
        "json.dump(history.history, file)."
    )


def _json_lines(text: str) -> list[Any] | None:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return None


def _read_csv(text: str, name: str) -> RunRecord:
    header = text.splitlines()[0]
    separator = max(_SEPARATORS, key=header.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    names = [column.strip() for column in rows[0]]
    # A run that was killed can leave half a line at the end.
    complete = [row for row in rows[1:] if len(row) == len(names)]
    if not complete:
        raise SourceError(
            f"{name} has a header ({', '.join(names)[:80]}) but no complete line of numbers. "
            f"{_WAYS}"
        )
    return _from_rows([dict(zip(names, map(_cell, row))) for row in complete], name)


def _cell(text: str) -> float | str | None:
    text = text.strip()
    # CSVLogger writes NA for a log that an epoch does not have.
    if text in {"", "NA", "None", "null"}:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _from_rows(rows: Sequence[Mapping[str, Any]], name: str) -> RunRecord:
    last, earlier = _last_run(rows)
    missing = {}
    if earlier:
        missing["earlier runs"] = (
            f"{name} holds {earlier + 1} runs one after another; the last one was read"
        )
    return _named(name, read_rows, last, epochs=_epoch_numbers(last), not_recorded=missing)


def _from_logs(logs: Mapping[str, Any], name: str) -> RunRecord:
    return _named(name, read_logs, logs)


def _named(name: str, read: Any, content: Any, **details: Any) -> RunRecord:
    try:
        record: RunRecord = read(content, **details)
    except SourceError as error:
        raise SourceError(f"{name} is no training history. {error} {_WAYS}") from error
    return record


def _last_run(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], int]:
    """The rows of the last run, and how many runs stand before it.

    `CSVLogger(append=True)` writes several runs into one file. Runs of one epoch each are the
    epochs of one training loop that calls `fit` again and again.
    """
    numbers = _epoch_numbers(rows)
    if numbers is None:
        return rows, 0
    starts = [0, *(i for i in range(1, len(numbers)) if numbers[i] <= numbers[i - 1])]
    if len(starts) == len(rows):
        return rows, 0
    return rows[starts[-1] :], len(starts) - 1


def _epoch_numbers(rows: Sequence[Mapping[str, Any]]) -> list[int] | None:
    numbers = [row.get("epoch") for row in rows]
    usable = [int(n) for n in numbers if isinstance(n, (int, float)) and math.isfinite(n)]
    return usable if len(usable) == len(rows) else None
