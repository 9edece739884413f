"""Diagnose many runs, on all cores when there are enough of them to be worth it."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lossdoctor.report import Report
from lossdoctor.report.triage import Run
from lossdoctor.sources.files import is_run_folder, read_path, runs_of_file

# Below this many runs, starting processes takes longer than the diagnoses.
_PARALLEL_FROM = 64
_SUFFIXES = {".csv", ".db", ".json", ".jsonl", ".log", ".lossdoctor", ".tsv"}


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs at `paths`; a folder that is no run itself, or an MLflow store, stands for the runs
    in it."""
    return [run for path in paths for run in _runs_at(path)]


def _runs_at(path: Path) -> list[Path]:
    if path.is_file():
        return runs_of_file(path)
    if not path.is_dir() or is_run_folder(path):
        return [path]
    inside = (p for p in sorted(path.iterdir()) if _may_be_log(p) or is_run_folder(p))
    return [run for p in inside for run in _runs_at(p)] or [path]


def _may_be_log(path: Path) -> bool:
    """Whether a file that nobody named may hold a run: programs and reports lie beside them."""
    return path.is_file() and path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def diagnose_many(paths: Sequence[Path], *, ignore: Collection[str] = ()) -> Iterator[Run]:
    """Diagnose each path, in order; one that cannot be read says why and stops nothing."""
    diagnose_one = functools.partial(_diagnose_one, ignore=tuple(ignore))
    if len(paths) < _PARALLEL_FROM:
        yield from map(diagnose_one, paths)
        return
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(diagnose_one, paths, chunksize=8)


def _diagnose_one(path: Path, ignore: Collection[str]) -> Run:
    try:
        return Run(name=str(path), report=Report.of(read_path(path), ignore=ignore))
    except (ValueError, OSError) as error:
        return Run(name=str(path), error=str(error))
