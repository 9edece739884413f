"""`lossdoctor validate`: train every case and compare the doctor's answer with the truth.

A broken twin passes when its root cause ranks first, when `check_config` alone finds what it can
find, when nothing innocent is accused, and when the harm is real: the twin's score, recomputed from
predictions, is clearly below that of its healthy case. A healthy case passes when it trains to its
score and gets no WARNING and no ERROR.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lossdoctor.cases import Case, Proof, cases, get_case
from lossdoctor.finding import Finding
from lossdoctor.validation.training import (
    Examination,
    Training,
    examine,
    fresh,
    in_processes,
    load,
    measure,
    noting,
    save,
    stem,
    train,
)
from lossdoctor.validation.words import share

if TYPE_CHECKING:
    from rich.console import Console

RECOVERED = 0.7
"""Share of the gap to the healthy twin that a remedy must close."""


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
        return tuple(e.rank(self.case.right_answers) for e in self.examinations)

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
        named = {finding.rule for finding in examination.findings}
        yield from (f"{slug} not named" for slug in self.case.symptoms if slug not in named)
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
        rank = examination.rank(self.case.right_answers)
        if rank is None:
            first = next((f.rule for f in examination.findings), "nothing")
            yield f"{self.case.must_find} not found, but {first}"
        elif rank > 1:
            yield f"{examination.findings[0].rule} ranks before {self.case.must_find}"
        if self.case.found_before_training:
            before = [finding.rule for finding in examination.findings_before]
            if not before or before[0] not in self.case.right_answers:
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
            bool(e.findings_before) and e.findings_before[0].rule in row.case.right_answers
            for row in early
            for e in row.examinations
        ]
        return " · ".join(
            text
            for total, text in (
                (ranks, f"root cause first {share([rank == 1 for rank in ranks])}"),
                (ranks, f"among the first three {share([(r or 9) <= 3 for r in ranks])}"),
                (known, f"before training {share(known)}"),
                (quiet, f"healthy runs left alone {share(quiet)}"),
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
    examined_all = in_processes(_examine, tasks, jobs, console, lambda e: e.case)
    done = {(e.case, e.seed): e for e in examined_all}

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


def _examine(task: _Task) -> Examination:
    case, seed = get_case(task.case), task.seed
    kept_at = stem(task.folder, case, seed)
    proofs = _proofs(case)
    # Without one of the measures, a twin has come since to ask for it.
    training = load(kept_at, proofs.keys())
    if training is None:
        training = train(case, seed, proofs.values())
        save(kept_at, training)
    examination = examine(case, seed, training)
    if task.remedies and case.broken and examination.rank(case.right_answers) == 1:
        remedied = _remedied(case, seed, examination.findings[0], training)
        examination = replace(examination, remedied=remedied)
        save(kept_at, training)
    return examination


def _proofs(case: Case) -> dict[str, Proof]:
    """What to measure of a case: its own proof, and those of its twins to compare with."""
    twins = (twin for twin in cases() if twin.healthy == case.name)
    return {proof.claim: proof for proof in (case.proof, *(twin.proof for twin in twins))}


def _remedied(case: Case, seed: int, finding: Finding, training: Training) -> float | None:
    """The proof's number after pasting the first remedy; None where it has no code, or a look."""
    training.trouble.pop("remedy", None)
    code = finding.remedies[0].code if finding.remedies else ""
    cures = code and not code.startswith("print(")
    if cures and code not in training.remedied:
        trial = fresh(case, seed)
        with noting(training.trouble, "remedy"):
            trial.apply(code)
            trial.train()
            training.remedied[code] = measure(trial, case.proof)
    return training.remedied.get(code)


# Words ----------------------------------------------------------------------------------------


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
