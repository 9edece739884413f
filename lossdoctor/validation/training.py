"""Train cases with the doctor, keep what that leaves behind, and run many at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lossdoctor.cases import Case, Proof, Trial
from lossdoctor.finding import Finding, Severity
from lossdoctor.record.run import RunRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lossdoctor.engine import Diagnosis

_TASKS_PER_PROCESS = 20
"""TensorFlow keeps some memory of every model it has traced."""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the doctor said of one case trained from one seed.

    `findings` and `findings_before` (by `check_config` alone) are ranked. `measures` holds the
    numbers of the proofs by their claim, `remedied` the twin's own after the first remedy.
    `trouble` says why training, checking or the remedy raised.
    """

    case: str
    seed: int
    findings: tuple[Finding, ...] = ()
    findings_before: tuple[Finding, ...] = ()
    failed_rules: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    remedied: float | None = None
    trouble: Mapping[str, str] = field(default_factory=dict)

    def alarms(self) -> tuple[str, ...]:
        """Slugs of WARNING and ERROR, before and after training."""
        both = (*self.findings, *self.findings_before)
        return tuple(dict.fromkeys(f.rule for f in both if f.severity >= Severity.WARNING))

    def rank(self, slugs: Sequence[str]) -> int | None:
        """Place of the first finding of one of these rules, counted from 1."""
        ranked = dict.fromkeys(finding.rule for finding in self.findings)
        return next((place for place, slug in enumerate(ranked, 1) if slug in slugs), None)


# One training ---------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Training:
    """What training a case left behind; everything but the two records is kept as JSON."""

    run: RunRecord | None = None
    before: RunRecord | None = None
    measures: dict[str, float] = field(default_factory=dict)
    remedied: dict[str, float] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)


def train(case: Case, seed: int, proofs: Iterable[Proof]) -> Training:
    """Check the case's configuration, then train it with the doctor, and measure the proofs."""
    from lossdoctor import LossDoctor, check_config

    training = Training()
    trial = fresh(case, seed)
    if trial.y is not None:
        with noting(training.trouble, "check"):
            training.before = check_config(
                trial.model,
                trial.y,
                x=trial.X,
                validation_data=(trial.X_val, trial.y_val) if trial.validates else None,
                epochs=trial.epochs,
                batch_size=trial.batch_size,
                **trial.fit_options,
            ).record
    trial = fresh(case, seed)
    doctor = LossDoctor(verbose=0)
    with noting(training.trouble, "fit"):
        trial.train([doctor])
    with noting(training.trouble, "record"):
        training.run = doctor.record
    training.measures = {proof.claim: measure(trial, proof) for proof in proofs}
    return training


def fresh(case: Case, seed: int) -> Trial:
    """The case built anew, without what earlier models left in Keras."""
    import keras

    keras.backend.clear_session()
    return case.materialize(seed)


def measure(trial: Trial, proof: Proof) -> float:
    """The proof's number; its worst where there is none."""
    if not trial.logs:
        return proof.worst
    try:
        value = float(proof.measure(trial))
    except Exception:
        # A model that cannot even predict has done its worst.
        return proof.worst
    return value if math.isfinite(value) else proof.worst


@contextlib.contextmanager
def noting(trouble: dict[str, str], place: str) -> Iterator[None]:
    """Note an exception instead of ending the validation of all other cases."""
    try:
        yield
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), "")
        trouble[place] = f"{type(error).__name__}: {first_line[:200]}"


def examine(case: Case, seed: int, training: Training) -> Examination:
    """What the doctor says of the records."""
    found, failed = _findings(training.run)
    before, failed_before = _findings(training.before)
    return Examination(
        case=case.name,
        seed=seed,
        findings=found,
        findings_before=before,
        failed_rules=tuple(dict.fromkeys((*failed, *failed_before))),
        measures=training.measures,
        trouble=training.trouble,
    )


def _findings(record: RunRecord | None) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    from lossdoctor.engine import diagnose_record

    if record is None:
        return (), ()
    diagnosis: Diagnosis = diagnose_record(record)
    failed = (f"{o.rule}: {o.reason}" for o in diagnosis.outcomes if o.status == "failed")
    return diagnosis.findings, tuple(failed)


# What is kept of it ---------------------------------------------------------------------------


def load(stem: Path | None, claims: Iterable[str]) -> Training | None:
    """The training kept under that path without suffix, if it holds measures of these claims."""
    if stem is None or not (notes := _with(stem, ".json")).exists():
        return None
    kept = json.loads(notes.read_text(encoding="utf-8"))
    if not set(claims) <= kept["measures"].keys():
        return None
    records: dict[str, Any] = {}
    for name in ("run", "before"):
        path = _with(stem, f".{name}.lossdoctor")
        records[name] = RunRecord.load(path) if path.exists() else None
    return Training(**records, **kept)


def save(stem: Path | None, training: Training) -> None:
    """Keep a training; the notes are written last, so that half a training is none."""
    if stem is None:
        return
    for name, record in (("run", training.run), ("before", training.before)):
        if record is not None:
            record.save(_with(stem, f".{name}.lossdoctor"))
    kept = {
        f.name: getattr(training, f.name)
        for f in dataclasses.fields(training)
        if f.name not in ("run", "before")
    }
    _with(stem, ".json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _with(stem: Path, suffix: str) -> Path:
    return stem.parent / (stem.name + suffix)


def stem(folder: Path | None, case: Case, seed: int) -> Path | None:
    """Where in the folder the training of a case is kept, without suffix."""
    return folder / f"{case.name.replace('/', '--')}.{seed}" if folder else None


# Many trainings -------------------------------------------------------------------------------


def in_processes(
    work: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    jobs: int,
    console: Console | None,
    describe: Callable[[_Result], str],
) -> Iterator[_Result]:
    """Do `work` on all tasks in `jobs` processes, and yield results as they come.

    Args:
        work: A function of a module, and its tasks, that can be sent to another process.
        tasks: What it is called with.
        jobs: How many processes work at the same time; one works in this process.
        console: Where progress is shown; by default the terminal's standard error.
        describe: What is shown beside the progress bar when a result has come.
    """
    from rich.console import Console as RichConsole

    progress = training_progress(console or RichConsole(stderr=True))
    with progress, warnings.catch_warnings():
        _be_quiet()
        bar = progress.add_task("Training", total=len(tasks))
        for result in _results(work, tasks, jobs):
            progress.update(bar, advance=1, description=f"{describe(result):<45}")
            yield result


def training_progress(console: Console) -> Progress:
    """A bar that counts, and leaves nothing behind; shown on terminals only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _results(
    work: Callable[[_Task], _Result], tasks: Sequence[_Task], jobs: int
) -> Iterator[_Result]:
    if jobs == 1:
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    # A new pool now and then: with `max_tasks_per_child`, Python 3.11 waits forever once the first
    # processes have done their share.
    share = jobs * _TASKS_PER_PROCESS
    for start in range(0, len(tasks), share):
        with ProcessPoolExecutor(jobs, context, initializer=_quiet_and_alone) as pool:
            futures = [pool.submit(work, task) for task in tasks[start : start + share]]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def _be_quiet() -> None:
    """What TensorFlow and Keras warn about is what the report explains."""
    warnings.simplefilter("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _quiet_and_alone() -> None:
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _be_quiet()
