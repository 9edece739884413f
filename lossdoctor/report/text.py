"""The report as text: colored in a terminal, plain in a pipe or a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from lossdoctor.finding import Finding, Outcome, Remedy, Severity
from lossdoctor.report import wording
from lossdoctor.report.tree import Node, tree

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

WIDTH = 88
_MAX_WIDTH = 100
_MARK = {Severity.ERROR: "✖", Severity.WARNING: "▲", Severity.INFO: "ℹ"}
_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold blue"}
_REASONS_SHOWN = 6
_RULES_SHOWN = 6
_QUIET = "dim"


def render(report: Report, *, verbose: bool = False, width: int = WIDTH) -> str:
    """The report as plain text.

    Args:
        report: The report.
        verbose: Also show every remedy, the details of notes, and what a healthy run was
            checked for.
        width: Where lines are broken. Code is never broken, so that it can be copied.
    """
    return "".join(line.plain.rstrip() + "\n" for line in _Writer(width, verbose).lines(report))


def print_report(report: Report, *, file: TextIO | None = None, verbose: bool = False) -> None:
    """See `Report.print`."""
    file = file or sys.stdout
    terminal = Console(file=file)
    width = min(terminal.width, _MAX_WIDTH) if terminal.is_terminal else WIDTH
    colored = terminal.is_terminal or terminal.is_jupyter
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=colored,
        force_jupyter=False,
        color_system="auto" if colored else None,
        width=width,
        legacy_windows=False,
    )
    for line in _Writer(width, verbose).lines(report):
        line.rstrip()
        console.print(line, soft_wrap=True)
    # A report must not fail for a console that lacks λ or ✖.
    encoding = getattr(file, "encoding", None) or "utf-8"
    file.write(buffer.getvalue().encode(encoding, "replace").decode(encoding))
    file.flush()


class _Writer:
    """Lays a report out as lines of styled text."""

    def __init__(self, width: int, verbose: bool) -> None:
        self._width = max(20, width)
        self._verbose = verbose
        self._console = Console(file=io.StringIO(), width=self._width)

    def lines(self, report: Report) -> list[Text]:
        problems = bool(report.problems)
        lines = self._headline(report)
        nodes = tree(report.findings)
        for node in nodes:
            if problems or node is not nodes[0]:
                lines += [Text()] if not _is_note(node) or self._verbose else []
            lines += self._node(node)
        failed = any(outcome.status == "failed" for outcome in report.outcomes)
        if problems or self._verbose or failed:
            lines.append(Text())
            lines += self._outcomes(report.outcomes)
        return lines

    def _headline(self, report: Report) -> list[Text]:
        stands = wording.state(report.record, report.findings, report.outcomes)
        if not report.ok:
            found = wording.counts(report.findings)
            text = Text(f"LossDoctor: {stands[0].lower()}{stands[1:]} ({found}).", "bold")
            return self._hanging(text, ("", ""), rest="  ")
        healthy = stands.startswith(wording.HEALTHY)
        mark, style = ("✔", "green") if healthy else ("?", "yellow")
        text = Text(f"LossDoctor: {stands}.")
        return self._hanging(text, (f"{mark} ", f"bold {style}"), rest="  ")

    def _node(self, node: Node) -> list[Text]:
        if _is_note(node) and not self._verbose:
            return self._note(node.finding)
        lines = self._finding(node.finding)
        for position, child in enumerate(node.children):
            last = position == len(node.children) - 1
            lines.append(Text("│", style=_QUIET))
            inner = _Writer(self._width - 3, self._verbose)._node(child)
            lines += _hang(inner, "└─ " if last else "├─ ", "   " if last else "│  ", _QUIET)
        return lines

    def _note(self, finding: Finding) -> list[Text]:
        text = Text.assemble((finding.title, "bold"), ". ", finding.message)
        return self._hanging(text, ("ℹ ", _STYLE[Severity.INFO]), rest="  ")

    def _finding(self, finding: Finding) -> list[Text]:
        lines = self._title(finding)
        lines += self._block(finding.message, "  ")
        if context := wording.context(finding):
            lines += self._block(context, "  ", style=_QUIET)
        lines += self._measurements(finding)
        # What a finding explains is cured with it.
        most = None if self._verbose else 0 if finding.explained_by else 1
        for number, remedy in enumerate(finding.remedies[:most]):
            lines += self._remedy(remedy, "Or" if number else "Fix")
        notes = []
        if finding.explains:
            notes.append(f"Explains: {', '.join(finding.explains)}.")
        more = len(finding.remedies) - 1
        if more > 0 and most == 1:
            notes.append(f"{more} more {'remedy' if more == 1 else 'remedies'} known.")
        if notes:
            lines += self._block(" ".join(notes), "  ", style=_QUIET)
        return lines if lines[-1] else lines[:-1]

    def _title(self, finding: Finding) -> list[Text]:
        mark = f"{_MARK[finding.severity]} {finding.severity.name}  "
        head, slug = (mark, _STYLE[finding.severity]), (finding.rule, _QUIET)
        gap = self._width - len(mark) - len(finding.title) - len(finding.rule)
        if gap >= 2:
            return [Text.assemble(head, (finding.title, "bold"), " " * gap, slug)]
        return self._hanging(Text.assemble((finding.title, "bold"), " ", slug), head, rest="  ")

    def _measurements(self, finding: Finding) -> list[Text]:
        shown = [(m, wording.comparison(m)) for m in finding.measurements]
        names = max((len(m.name) for m, _ in shown), default=0)
        values = max((len(value) for _, value in shown), default=0)
        lines: list[Text] = []
        for m, value in shown:
            text = Text.assemble(
                f"{m.name:<{names}}  ",
                (f"{value:<{values}}", "" if m.threshold is None else _STYLE[finding.severity]),
                (f"  {m.unit}", _QUIET),
            )
            text.rstrip()
            lines += self._hanging(text, ("    ", ""), rest="      ")
        return lines

    def _remedy(self, remedy: Remedy, word: str) -> list[Text]:
        lines = self._hanging(Text(remedy.text), (f"  {word}: ", "bold green"), rest="    ")
        if remedy.code:
            code = Syntax(remedy.code, "python", theme="ansi_dark", background_color="default")
            shown = code.highlight(remedy.code.strip("\n")).split("\n")
            lines += [Text(), *(Text("      ").append_text(line) for line in shown), Text()]
        return lines

    def _outcomes(self, outcomes: Iterable[Outcome]) -> Iterator[Text]:
        groups: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            groups.setdefault(outcome.status, []).append(outcome)
        for status, word in (("clear", "Clear"), ("ignored", "Ignored")):
            if found := groups.get(status):
                names = Text(", ".join(outcome.rule for outcome in found), _QUIET)
                yield from self._hanging(names, (f"{word} ({len(found)}): ", "bold"), rest="  ")
        if missing := groups.get("not_applicable"):
            yield Text(f"Not checked ({len(missing)}):", "bold")
            yield from self._reasons(missing)
        if failed := groups.get("failed"):
            yield Text(f"Failed ({len(failed)}):", "bold red")
            yield from self._reasons(failed)
            text = "A rule that fails is a bug in LossDoctor: please report it with these lines."
            yield from self._block(text, "  ")

    def _reasons(self, outcomes: list[Outcome]) -> Iterator[Text]:
        reasons = list(wording.by_reason(outcomes).items())
        shown = len(reasons) if self._verbose else _REASONS_SHOWN
        for reason, rules in reasons[:shown]:
            yield from self._reason(reason, rules)
        rest = [rule for _, rules in reasons[shown:] for rule in rules]
        if rest:
            yield from self._reason("other reasons", rest)

    def _reason(self, reason: str, rules: list[str]) -> list[Text]:
        shown = rules if self._verbose or len(rules) <= _RULES_SHOWN else rules[: _RULES_SHOWN - 1]
        more = f" and {len(rules) - len(shown)} more" if len(shown) < len(rules) else ""
        text = Text.assemble(reason, (f" ({', '.join(shown)}{more})", _QUIET))
        return self._hanging(text, ("  - ", _QUIET), rest="    ")

    def _block(self, text: str, indent: str, *, style: str = "") -> list[Text]:
        return self._hanging(Text(text, style), (indent, ""), rest=indent)

    def _hanging(self, text: Text, first: tuple[str, str], *, rest: str) -> list[Text]:
        """Wrap `text`, opened by the styled `first`, with `rest` before all further lines."""
        text.highlight_regex(r"`[^`]+`", "cyan")
        opened = Text.assemble(first, text)
        wrapped = opened.wrap(self._console, self._width - len(rest))
        return _hang(list(wrapped), "", rest, "")


def _is_note(node: Node) -> bool:
    return node.finding.severity == Severity.INFO and not node.children


def _hang(lines: list[Text], first: str, rest: str, style: str) -> list[Text]:
    return [
        Text.assemble((first if position == 0 else rest, style), line)
        for position, line in enumerate(lines)
    ]
