"""Records from MLflow run folders: one file per metric, one line "time value step" per entry."""

from __future__ import annotations

from pathlib import Path

from lossdoctor.record.run import RunRecord
from lossdoctor.sources._error import SourceError
from lossdoctor.sources.history import read_rows


def is_run_folder(path: Path) -> bool:
    """Whether `path` is the folder of one MLflow run."""
    return (path / "metrics").is_dir() and (path / "meta.yaml").is_file()


def read_folder(path: Path) -> RunRecord:
    """The record of the metrics logged to one MLflow run."""
    metrics = path / "metrics"
    by_step: dict[int, dict[str, float]] = {}
    for file in sorted(metrics.rglob("*")):
        name = file.relative_to(metrics).as_posix()
        # MLflow samples the machine's own load on steps that are not epochs.
        if file.is_file() and not name.startswith("system/"):
            for step, value in _entries(file):
                by_step.setdefault(step, {})[name] = value
    if not by_step:
        raise SourceError(
            f"{path} is an MLflow run without metrics. Log them per epoch, with "
            "mlflow.tensorflow.autolog() or mlflow.log_metric('loss', value, step=epoch)."
        )
    return read_rows(by_step[step] for step in sorted(by_step))


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
