"""Many runs in one table, the most troubled first."""

from __future__ import annotations

import io
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossdoctor.report import github, wording
from lossdoctor.report.json import to_dict
from lossdoctor.report.markdown import escape
from lossdoctor.report.report import Format, Report

FORMAT = "lossdoctor-triage"
VERSION = 1
_STYLE = {"error": "bold red", "warning": "bold yellow", "ok": "green"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: its report, or why it could not be read."""

    name: str
    report: Report | None = None
    error: str = ""

    @property
    def verdict(self) -> str:
        """`error`, `warning`, `unreadable`, `unknown` (nothing could be checked) or `ok`."""
        if self.report is None:
            return "unreadable"
        if self.report.problems:
            return max(f.severity for f in self.report.problems).name.lower()
        checked = any(outcome.status in ("clear", "found") for outcome in self.report.outcomes)
        return "ok" if checked else "unknown"

    @property
    def first_cause(self) -> str:
        """Title of the first finding to fix, or why there is no report."""
        if self.report is None:
            return textwrap.shorten(self.error, 100, placeholder=" ...")
        return self.report.problems[0].title if self.report.problems else ""

    @property
    def onset(self) -> str:
        """When the first cause showed."""
        problems = self.report.problems if self.report else ()
        return wording.onset(problems[0]).removeprefix("since ") if problems else ""


_ORDER = ("error", "warning", "unreadable", "unknown", "ok")


def triage(runs: Iterable[Run]) -> tuple[Run, ...]:
    """`runs` sorted by trouble: verdict, number of problems, name."""

    def key(run: Run) -> tuple[int, int, str]:
        problems = len(run.report.problems) if run.report else 0
        return _ORDER.index(run.verdict), -problems, run.name

    return tuple(sorted(runs, key=key))


def summary(runs: Iterable[Run]) -> str:
    """`12 runs: 3 error, 1 unreadable, 8 ok`."""
    counts = Counter(run.verdict for run in runs)
    parts = [f"{counts[verdict]:,} {verdict}" for verdict in _ORDER if counts[verdict]]
    return f"{wording.plural(sum(counts.values()), 'run')}: {', '.join(parts)}"


def print_table(runs: tuple[Run, ...], *, file: TextIO) -> None:
    """Print the table to `file`, in color if it is a terminal."""
    console = Console(file=file)
    if not console.is_terminal:
        # One line a run, whatever its path's length: grep and awk read lines.
        console = Console(file=file, width=100 + max((len(run.name) for run in runs), default=0))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("first cause")
    table.add_column("since", no_wrap=True)
    for run in runs:
        verdict = Text(run.verdict, _STYLE.get(run.verdict, "dim"))
        table.add_row(Text(run.name), verdict, Text(run.first_cause), run.onset)
    console.print(table)
    console.print(summary(runs), highlight=False)


def to_text(runs: tuple[Run, ...]) -> str:
    """The table as plain text."""
    buffer = io.StringIO()
    print_table(runs, file=buffer)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def to_markdown(runs: tuple[Run, ...]) -> str:
    """The table as Markdown."""
    rows = [
        f"| {escape(run.name)} | {run.verdict} | {escape(run.first_cause)} | {run.onset} |"
        for run in runs
    ]
    head = ["| run | verdict | first cause | since |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, "", summary(runs)]) + "\n"


def to_json(runs: tuple[Run, ...]) -> str:
    """All reports in one JSON document."""

    def item(run: Run) -> dict[str, Any]:
        report = to_dict(run.report) if run.report else None
        return {"run": run.name, "verdict": run.verdict, "error": run.error, "report": report}

    document = {"format": FORMAT, "version": VERSION, "runs": [item(run) for run in runs]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_github(runs: tuple[Run, ...]) -> str:
    """The problems of all runs as annotations."""
    lines = [
        github.annotation(finding, run.name)
        for run in runs
        if run.report
        for finding in run.report.problems
    ]
    lines += [github.command("error", run.name, run.error) for run in runs if run.report is None]
    lines.append(github.command("notice", "LossDoctor", summary(runs)))
    return "\n".join(lines) + "\n"


def to_html(runs: tuple[Run, ...]) -> str:
    """The table as one page."""
    from lossdoctor.report.html import render_triage

    return render_triage(runs, summary(runs))


_RENDERERS: dict[Format, Callable[[tuple[Run, ...]], str]] = {
    "text": to_text,
    "html": to_html,
    "json": to_json,
    "markdown": to_markdown,
    "github": to_github,
}


def render(runs: tuple[Run, ...], format: Format) -> str:
    """The table in one of the formats a report has."""
    return _RENDERERS[format](runs)
