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


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs at `paths`; a folder that is no run itself, or an MLflow store, stands for the runs
    in it."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and not is_run_folder(path):
            inside = (p for p in sorted(path.iterdir()) if not p.name.startswith("."))
            found += [p for p in inside if p.is_file() or is_run_folder(p)] or [path]
        elif path.is_file():
            found += runs_of_file(path)
        else:
            found.append(path)
    return found


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
