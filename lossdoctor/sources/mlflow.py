"""Records from MLflow: a run folder, one file per metric with a line "time value step" per entry;
or the SQLite file that holds the runs of a whole store."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from lossdoctor.record.run import RunRecord
from lossdoctor.sources._error import SourceError
from lossdoctor.sources.history import read_rows


def is_run_folder(path: Path) -> bool:
    """Whether `path` is the folder of one MLflow run."""
    return (path / "metrics").is_dir() and (path / "meta.yaml").is_file()


def is_store(path: Path) -> bool:
    """Whether `path` is an SQLite file; only MLflow keeps runs in one."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def read_folder(path: Path) -> RunRecord:
    """The record of the metrics logged to one MLflow run."""
    metrics = path / "metrics"
    files = (file for file in sorted(metrics.rglob("*")) if file.is_file())
    return _record(
        path,
        (
            (file.relative_to(metrics).as_posix(), step, value)
            for file in files
            for step, value in _entries(file)
        ),
    )


def runs_of_store(path: Path) -> list[Path]:
    """The runs of an SQLite store that logged metrics, first started first, as `path / run id`."""
    query = (
        "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND run_uuid IN "
        "(SELECT run_uuid FROM metrics) ORDER BY start_time"
    )
    with _database(path) as database:
        return [path / run for (run,) in database.execute(query)]


def read_run_of_store(path: Path) -> RunRecord:
    """The record of the metrics of one run, given as by `runs_of_store`."""
    query = (
        "SELECT key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
        "WHERE run_uuid = ? ORDER BY timestamp"
    )
    with _database(path.parent) as database:
        rows = database.execute(query, (path.name,)).fetchall()
    return _record(path, ((key, step, _stored(value)) for key, step, value in rows))


def _record(path: Path, entries: Iterable[tuple[str, int, float]]) -> RunRecord:
    by_step: dict[int, dict[str, float]] = {}
    for name, step, value in entries:
        # MLflow samples the machine's own load on steps that are not epochs.
        if not name.startswith("system/"):
            by_step.setdefault(step, {})[name] = value
    if not by_step:
        raise SourceError(
            f"{path} is an MLflow run without metrics. Log them per epoch, with "
            "mlflow.tensorflow.autolog() or mlflow.log_metric('loss', value, step=epoch)."
        )
    return read_rows(by_step[step] for step in sorted(by_step))


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as database:
            yield database
    except sqlite3.Error as error:
        raise SourceError(
            f"{path} is no MLflow store ({error}). Give the file that MLflow's tracking URI names, "
            "by default mlflow.db."
        ) from error


def _stored(value: float | None) -> float:
    """A metric's value; MLflow keeps NaN apart and infinity as the largest number there is."""
    if value is None:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) > _LARGEST / 2 else value


_LARGEST = 1.7976931348623157e308


def _entries(file: Path) -> list[tuple[int, float]]:
    entries = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            _, value, *step = line.split()
            entries.append((int(step[0]) if step else 0, float(value)))
        except ValueError as error:
            raise SourceError(
                f"{file} is not an MLflow metric: the line {line!r:.80} is not "
                "'timestamp value step'. Restore the run folder or export its metrics as CSV."
            ) from error
    return entries
