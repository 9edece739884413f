"""The demonstration: break a tutorial, read the report, apply its first remedy, train again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lossdoctor.cases import Case, Trial, cases, get_case
from lossdoctor.report import Report, wording
from lossdoctor.validation.training import training_progress

DEFAULT_CASE = "regression-mse/features-x1000"


def run_demo(name: str, *, record_path: Path, seed: int = 1) -> Report:
    """Train a broken case, its healthy twin and the repaired case; print what the doctor says.

    Returns:
        The report of the case `name`.

    Raises:
        ValueError: If there is no such case.
        OSError: If the record cannot be saved.
    """
    case = get_case(name)
    twin = get_case(case.healthy) if case.healthy else None
    console = Console(highlight=False)
    console.print(f"[bold]{case.title}[/bold]" + (" (broken on purpose)" if twin else ""))
    with training_progress(console) as progress:
        trial, report = _train(case, seed, progress)
        assert report is not None
        healthy, healthy_report = _train(twin, seed, progress) if twin else (None, None)
        repaired = _repair(case, seed, report, progress) if twin else None
    report.print()
    if healthy_report is not None:
        console.print(f"\n[bold]Its healthy twin:[/bold] {twin.title if twin else ''}")
        healthy_report.print()
    if healthy is not None:
        rows = {"broken": trial, "after the first remedy": repaired, "healthy twin": healthy}
        console.print()
        console.print(_table(case, {label: row for label, row in rows.items() if row}))
    report.record.save(record_path)
    console.print(f"\nThe record is saved in {record_path}. Next:", markup=False, soft_wrap=True)
    console.print(f"  lossdoctor diagnose {record_path} --html report.html", markup=False)
    console.print("  lossdoctor demo --list", markup=False)
    return report


def list_cases() -> Table:
    """All cases with what is wrong in each."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("case", no_wrap=True)
    table.add_column("fault", ratio=1)
    table.add_column("root cause", no_wrap=True)
    for case in cases():
        table.add_row(case.name, case.fault or "none, healthy", case.must_find or "")
    return table


def _train(case: Case, seed: int, progress: Progress) -> tuple[Trial, Report | None]:
    from lossdoctor.callback import LossDoctor

    trial = case.materialize(seed)
    doctor = LossDoctor(verbose=0)
    _fit(trial, [doctor], "healthy twin" if not case.broken else "broken", progress)
    return trial, doctor.report


def _repair(case: Case, seed: int, report: Report, progress: Progress) -> Trial | None:
    remedies = report.findings[0].remedies if report.findings else ()
    if not remedies or not remedies[0].code:
        return None
    trial = case.materialize(seed)
    trial.apply(remedies[0].code)
    _fit(trial, [], "after the first remedy", progress)
    return trial


def _fit(trial: Trial, callbacks: list[Any], label: str, progress: Progress) -> None:
    import keras

    task = progress.add_task(f"Training: {label}", total=trial.epochs)
    advance: Callable[..., None] = lambda *_: progress.advance(task)  # noqa: E731
    try:
        trial.train([*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=advance)])
    except Exception as error:
        # Some faults do not get past `fit`; the doctor has its record all the same.
        first_line = next(iter(str(error).strip().splitlines()), "")
        progress.console.print(f"fit() raised {type(error).__name__}: {first_line[:200]}")
    progress.update(task, completed=trial.epochs)


def _table(case: Case, trials: dict[str, Trial]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("final loss", justify="right")
    table.add_column(f"{case.recipe.score.name} on held-out rows", justify="right")
    for label, trial in trials.items():
        loss = trial.logs.get("loss", [math.nan])[-1]
        table.add_row(label, wording.number(loss), wording.number(_score(trial), 3))
    return table


def _score(trial: Trial) -> float:
    try:
        return trial.score()
    except ValueError:
        # Predictions that are NaN have no score.
        return math.nan
