"""`lossdoctor validate`: train every case and compare the doctor's answer with the truth.

A broken twin passes when its root cause ranks first, when `check_config` alone finds what it can
find, when nothing innocent is accused, and when the harm is real: the twin's score, recomputed from
predictions, is clearly below that of its healthy case. A healthy case passes when it trains to its
score and gets no WARNING and no ERROR.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.cases import Case, Proof, Trial, cases, get_case
from lossdoctor.finding import Finding, Severity
from lossdoctor.record.run import RunRecord

if TYPE_CHECKING:
    from rich.console import Console

    from lossdoctor.engine import Diagnosis

RECOVERED = 0.7
"""Share of the gap to the healthy twin that a remedy must close."""

_TASKS_PER_PROCESS = 20
"""TensorFlow keeps some memory of every model it has traced."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the doctor said of one case trained from one seed.

    `found` and `found_before` (by `check_config` alone) are slugs and severities in ranked order.
    `measures` holds the numbers of the proofs by their claim, `remedied` the twin's own after the
    first remedy. `trouble` says why training, checking or the remedy raised.
    """

    case: str
    seed: int
    found: tuple[tuple[str, Severity], ...] = ()
    found_before: tuple[tuple[str, Severity], ...] = ()
    failed_rules: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    remedied: float | None = None
    trouble: Mapping[str, str] = field(default_factory=dict)

    def alarms(self) -> tuple[str, ...]:
        """Slugs of WARNING and ERROR, before and after training."""
        both = (*self.found, *self.found_before)
        return tuple(dict.fromkeys(slug for slug, level in both if level >= Severity.WARNING))

    def rank(self, slugs: Sequence[str]) -> int | None:
        """Place of the first finding of one of these rules, counted from 1."""
        ranked = dict.fromkeys(slug for slug, _ in self.found)
        return next((place for place, slug in enumerate(ranked, 1) if slug in slugs), None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case over all seeds, beside its healthy twin."""

    case: Case
    examinations: tuple[Examination, ...]
    twins: tuple[Examination, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with the doctor's answer."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, with the seeds where it is."""
        seeds: dict[str, list[int]] = {}
        for examination, twin in itertools.zip_longest(self.examinations, self.twins):
            for problem in self._problems(examination, twin):
                seeds.setdefault(problem, []).append(examination.seed)
        return tuple(
            text if len(where) == len(self.examinations) else f"{text} (seed {_listed(where)})"
            for text, where in seeds.items()
        )

    @property
    def ranks(self) -> tuple[int | None, ...]:
        """Place of the root cause for each seed."""
        return tuple(e.rank(self._causes) for e in self.examinations)

    @property
    def _causes(self) -> tuple[str, ...]:
        return (self.case.must_find or "", *self.case.also_right)

    def mean(self, of: Sequence[Examination]) -> float | None:
        """The proof's number, averaged over the seeds."""
        values = [e.measures[self.case.proof.claim] for e in of if e.measures]
        return sum(values) / len(values) if values else None

    @property
    def remedied(self) -> float | None:
        """The proof's number after the first remedy, averaged over the seeds."""
        values = [e.remedied for e in self.examinations if e.remedied is not None]
        return sum(values) / len(values) if values else None

    def _problems(self, examination: Examination, twin: Examination | None) -> Iterator[str]:
        yield from (f"rule failed: {failure}" for failure in examination.failed_rules)
        for place in ("check", "record", "remedy", *(() if self.case.broken else ("fit",))):
            if place in examination.trouble:
                yield f"{place}: {examination.trouble[place]}"
        if self.case.broken:
            yield from self._misdiagnosis(examination)
            if twin is not None:
                yield from self._unproved(examination, twin)
        else:
            yield from (f"false alarm: {slug}" for slug in examination.alarms())
            score = examination.measures.get(self.case.proof.claim, -math.inf)
            if self.case.passing is not None and score < self.case.passing:
                yield f"score {score:.3g} below {self.case.passing:g}"

    def _misdiagnosis(self, examination: Examination) -> Iterator[str]:
        rank = examination.rank(self._causes)
        if rank is None:
            first = next((slug for slug, _ in examination.found), "nothing")
            yield f"{self.case.must_find} not found, but {first}"
        elif rank > 1:
            yield f"{examination.found[0][0]} ranks before {self.case.must_find}"
        if self.case.found_before_training:
            before = [slug for slug, _ in examination.found_before]
            if not before or before[0] not in self._causes:
                yield f"check_config says {before[0] if before else 'nothing'}"
        innocent = self.case.must_not_find & set(examination.alarms())
        yield from (f"false alarm: {slug}" for slug in sorted(innocent))

    def _unproved(self, examination: Examination, twin: Examination) -> Iterator[str]:
        proof = self.case.proof
        healthy, broken = twin.measures[proof.claim], examination.measures[proof.claim]
        if not healthy - broken >= proof.by:
            yield f"no harm: {broken:.3g} against the twin's {healthy:.3g}"
        after = examination.remedied
        if after is not None and after - broken < RECOVERED * (healthy - broken):
            yield f"first remedy leads to {after:.3g}, the twin to {healthy:.3g}"


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """All cases that were validated."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every case passed."""
        return all(row.ok for row in self.rows)

    def summary(self) -> str:
        """One line: root causes first, found before training, healthy runs left alone."""
        broken = [row for row in self.rows if row.case.broken]
        early = [row for row in broken if row.case.found_before_training]
        ranks = [rank for row in broken for rank in row.ranks]
        quiet = [not e.alarms() for r in self.rows if not r.case.broken for e in r.examinations]
        known = [
            bool(e.found_before) and e.found_before[0][0] in row._causes
            for row in early
            for e in row.examinations
        ]
        return " · ".join(
            text
            for total, text in (
                (ranks, f"root cause first {_share([rank == 1 for rank in ranks])}"),
                (ranks, f"among the first three {_share([(r or 9) <= 3 for r in ranks])}"),
                (known, f"before training {_share(known)}"),
                (quiet, f"healthy runs left alone {_share(quiet)}"),
            )
            if total
        )

    def print_table(self, console: Console) -> None:
        """Print one line per case and the summary."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("")
        table.add_column("case", no_wrap=True)
        table.add_column("must find", no_wrap=True)
        table.add_column("rank", justify="right", no_wrap=True)
        for name in ("score", "twin", "remedied"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("what is wrong", ratio=1)
        for row in self.rows:
            table.add_row(
                Text("✓", style="green") if row.ok else Text("✗", style="bold red"),
                row.case.name,
                row.case.must_find or "",
                _listed([rank or "-" for rank in row.ranks]) if row.case.broken else "",
                _number(row.mean(row.examinations)),
                _number(row.mean(row.twins)),
                _number(row.remedied),
                Text("; ".join(row.problems)),
            )
        console.print(table)
        failed = sum(not row.ok for row in self.rows)
        console.print(f"\n{len(self.rows)} cases, {failed} failed. {self.summary()}", style="bold")


def validate(
    names: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    jobs: int = 1,
    remedies: bool = False,
    records: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> ValidationResult:
    """Train cases with the doctor and compare what it says with what is true.

    Args:
        names: Names of cases; by default all. Their healthy twins are trained as well.
        seeds: Each case is trained once per seed, which draws weights and order of rows.
        jobs: How many processes train at the same time.
        remedies: Also apply the first remedy to each broken twin and train again.
        records: A folder for the records of all runs. Runs that stand there already are judged by
            their record instead of being trained again: after a change of a rule, this takes
            seconds. Empty it after a change of the recorder or of a case.
        console: Where progress is shown; by default the terminal's standard error.

    Raises:
        ValueError: If a name is unknown, or `seeds` or `jobs` make no sense.
    """
    if not seeds:
        raise ValueError("`seeds` must name at least one seed.")
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1. Received: {jobs}.")
    chosen = list(cases()) if names is None else [get_case(name) for name in names]
    twins = [get_case(case.healthy) for case in chosen if case.healthy]
    chosen = list({case.name: case for case in (*chosen, *twins)}.values())
    folder = None if records is None else Path(records)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    tasks = [_Task(case.name, seed, remedies, folder) for case in chosen for seed in seeds]
    done = {(e.case, e.seed): e for e in _with_progress(tasks, jobs, console)}

    def examined(name: str | None) -> tuple[Examination, ...]:
        return tuple(done[name, seed] for seed in seeds) if name else ()

    return ValidationResult(
        rows=tuple(
            Row(case=case, examinations=examined(case.name), twins=examined(case.healthy))
            for case in chosen
        )
    )


# Training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    case: str
    seed: int
    remedies: bool
    folder: Path | None

    def path(self, suffix: str) -> Path | None:
        stem = f"{self.case.replace('/', '--')}.{self.seed}"
        return self.folder / f"{stem}{suffix}" if self.folder else None


def _with_progress(
    tasks: Sequence[_Task], jobs: int, console: Console | None
) -> Iterator[Examination]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or RichConsole(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        bar = progress.add_task("Training", total=len(tasks))
        for examination in _examine_all(tasks, jobs):
            progress.update(bar, advance=1, description=f"{examination.case:<45}")
            yield examination


def _examine_all(tasks: Sequence[_Task], jobs: int) -> Iterator[Examination]:
    if jobs == 1:
        yield from map(_examine, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, context, initializer=_one_thread_each, max_tasks_per_child=_TASKS_PER_PROCESS
    ) as pool:
        futures = [pool.submit(_examine, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread_each() -> None:
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclass(kw_only=True)
class _Training:
    """What training a task left behind; everything but the two records is kept as JSON."""

    run: RunRecord | None = None
    before: RunRecord | None = None
    measures: dict[str, float] = field(default_factory=dict)
    remedied: dict[str, float] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)


def _examine(task: _Task) -> Examination:
    case = get_case(task.case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = _load(task, case) or _train(case, task.seed)
        found, failed = _findings(training.run)
        before, failed_before = _findings(training.before)
        remedied = None
        if task.remedies and case.broken and found and found[0].rule == case.must_find:
            remedied = _remedied(case, task.seed, found[0], training)
        _save(task, training)
    return Examination(
        case=case.name,
        seed=task.seed,
        found=tuple((f.rule, f.severity) for f in found),
        found_before=tuple((f.rule, f.severity) for f in before),
        failed_rules=tuple(dict.fromkeys((*failed, *failed_before))),
        measures=training.measures,
        remedied=remedied,
        trouble=training.trouble,
    )


def _findings(record: RunRecord | None) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    from lossdoctor.engine import diagnose_record

    if record is None:
        return (), ()
    diagnosis: Diagnosis = diagnose_record(record)
    failed = (f"{o.rule}: {o.reason}" for o in diagnosis.outcomes if o.status == "failed")
    return diagnosis.findings, tuple(failed)


def _train(case: Case, seed: int) -> _Training:
    from lossdoctor import LossDoctor, check_config

    training = _Training()
    trial = _fresh(case, seed)
    if trial.y is not None:
        with _noting(training.trouble, "check"):
            training.before = check_config(
                trial.model,
                trial.y,
                x=trial.X,
                validation_data=(trial.X_val, trial.y_val) if trial.validates else None,
                epochs=trial.epochs,
                batch_size=trial.batch_size,
                **trial.fit_options,
            ).record
    trial = _fresh(case, seed)
    doctor = LossDoctor(verbose=0)
    with _noting(training.trouble, "fit"):
        trial.train([doctor])
    with _noting(training.trouble, "record"):
        training.run = doctor.record
    training.measures = {claim: _measure(trial, proof) for claim, proof in _proofs(case).items()}
    return training


def _proofs(case: Case) -> dict[str, Proof]:
    """What to measure of a case: its own proof, and those of its twins to compare with."""
    twins = (twin for twin in cases() if twin.healthy == case.name)
    return {proof.claim: proof for proof in (case.proof, *(twin.proof for twin in twins))}


def _remedied(case: Case, seed: int, finding: Finding, training: _Training) -> float | None:
    training.trouble.pop("remedy", None)
    code = finding.remedies[0].code if finding.remedies else ""
    if not code:
        training.trouble["remedy"] = "the first remedy has no code"
    elif code not in training.remedied:
        trial = _fresh(case, seed)
        with _noting(training.trouble, "remedy"):
            trial.apply(code)
            trial.train()
            training.remedied[code] = _measure(trial, case.proof)
    return training.remedied.get(code)


def _fresh(case: Case, seed: int) -> Trial:
    import keras

    keras.backend.clear_session()
    return case.materialize(seed)


def _measure(trial: Trial, proof: Proof) -> float:
    if not trial.logs:
        return proof.worst
    try:
        value = float(proof.measure(trial))
    except Exception:
        # A model that cannot even predict has done its worst.
        return proof.worst
    return value if math.isfinite(value) else proof.worst


@contextlib.contextmanager
def _noting(trouble: dict[str, str], place: str) -> Iterator[None]:
    """Note an exception instead of ending the validation of all other cases."""
    try:
        yield
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), "")
        trouble[place] = f"{type(error).__name__}: {first_line[:200]}"


def _load(task: _Task, case: Case) -> _Training | None:
    notes = task.path(".json")
    if notes is None or not notes.exists():
        return None
    kept = json.loads(notes.read_text(encoding="utf-8"))
    if not _proofs(case).keys() <= kept["measures"].keys():
        # Since then a twin has come to ask for another measure.
        return None
    records: dict[str, Any] = {}
    for name in ("run", "before"):
        path = task.path(f".{name}.lossdoctor")
        records[name] = RunRecord.load(path) if path and path.exists() else None
    return _Training(**records, **kept)


def _save(task: _Task, training: _Training) -> None:
    notes = task.path(".json")
    if notes is None:
        return
    for name, record in (("run", training.run), ("before", training.before)):
        path = task.path(f".{name}.lossdoctor")
        if path and record is not None:
            record.save(path)
    kept = {
        f.name: getattr(training, f.name)
        for f in dataclasses.fields(training)
        if f.name not in ("run", "before")
    }
    notes.write_text(json.dumps(kept, indent=1), encoding="utf-8")


# Words ----------------------------------------------------------------------------------------


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right)}/{len(right)} ({sum(right) / max(len(right), 1):.1%})"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
