"""The answer to one run: findings with the root cause first, and what became of every rule."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

from lossdoctor.engine import diagnose_record
from lossdoctor.finding import Finding, Outcome, Severity
from lossdoctor.record.run import RunRecord
from lossdoctor.record.storage import write_atomically
from lossdoctor.report import wording
from lossdoctor.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["text", "html", "json", "markdown", "github"]
SUFFIXES: dict[str, Format] = {".html": "html", ".json": "json", ".md": "markdown", ".txt": "text"}


@dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """What LossDoctor has to say about one run.

    Attributes:
        record: What was measured.
        findings: Ranked, the root cause first; a finding that another one explains stands below
            it, with `explained_by` set.
        outcomes: One per rule: `found`, `clear`, `not_applicable`, `ignored` or `failed`, with
            the reason where there is one.
    """

    record: RunRecord
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(
        cls,
        record: RunRecord,
        rules: Iterable[Rule] | None = None,
        ignore: Collection[str] = (),
    ) -> Self:
        """Diagnose `record`.

        Args:
            record: What was measured.
            rules: Rules to run; all with their default thresholds if None.
            ignore: Slugs of rules to leave out.

        Raises:
            ValueError: If `rules` holds something other than rules, or `ignore` an unknown slug.
        """
        diagnosis = diagnose_record(record, rules, ignore)
        return cls(record=record, findings=diagnosis.findings, outcomes=diagnosis.outcomes)

    @property
    def ok(self) -> bool:
        """Whether there is nothing to fix: no finding of WARNING or ERROR."""
        return not self.problems

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings of WARNING or ERROR, ranked."""
        return tuple(f for f in self.findings if f.severity >= Severity.WARNING)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of ERROR, ranked: with one of them the run cannot be right."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    @property
    def verdict(self) -> str:
        """The report in one sentence."""
        return wording.verdict(self.record, self.findings, self.outcomes)

    def plot(self) -> Figure:
        """Draw the run: its loss curves and the pictures that prove the findings."""
        from lossdoctor.report.plots import draw

        return draw(self)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, in the versioned form that `save("x.json")` writes."""
        from lossdoctor.report.json import to_dict

        return to_dict(self)

    def render(self, format: Format) -> str:
        """The report in one of its formats."""
        renderer = importlib.import_module(f"lossdoctor.report.{format}")
        return str(renderer.render(self))

    def print(self, *, file: TextIO | None = None, verbose: bool = False) -> None:
        """Print the report as text, in color where `file` is a terminal or a notebook.

        Args:
            file: Where to print; standard output if None.
            verbose: Also every remedy, and what a healthy run was checked for.
        """
        from lossdoctor.report.text import print_report

        print_report(self, file=file, verbose=verbose)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to `path`, in the format its suffix names.

        Args:
            path: A file name ending in `.html`, `.json`, `.md` or `.txt`.

        Raises:
            ValueError: If the suffix is none of these.
            OSError: If the file cannot be written; an existing file is then left as it was.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"A report is saved as {', '.join(SUFFIXES)}, by the suffix of its path. "
                f"Received: path={os.fspath(path)!r}. To keep the measurements themselves, use "
                "report.record.save('run.lossdoctor')."
            )
        write_atomically(path, self.render(SUFFIXES[suffix]))

    def __str__(self) -> str:
        return self.render("text").rstrip("\n")

    def __repr__(self) -> str:
        return f"<Report: {self.verdict}>"

    def _repr_html_(self) -> str:
        from lossdoctor.report.html import render_fragment

        return render_fragment(self)
