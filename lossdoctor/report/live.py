"""What is certain while a run still goes on: one line for each finding, once.

Nothing here may cost more than a hundredth of the time training takes, see `LiveReport.look`.
"""

from __future__ import annotations

import html
import importlib
import math
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from lossdoctor.finding import Finding, Severity, Stage
from lossdoctor.record.run import RunRecord
from lossdoctor.report.report import Report
from lossdoctor.rules import Rule

SHARE = 0.01
_LONGEST = 300


class LiveReport:
    """Looks at an unfinished run from time to time and says what training longer cannot change.

    Args:
        rules: Rules to run; all if None.
        ignore: Slugs of rules to leave out.
        least: The least severity worth a line.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        rules: Iterable[Rule] | None = None,
        ignore: Collection[str] = (),
        *,
        least: Severity = Severity.ERROR,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._rules = None if rules is None else tuple(rules)
        self._ignore = ignore
        self._least = least
        self._clock = clock
        self._begun = clock()
        self._looks = 0
        self._spent = self._last_cost = 0.0
        self._alarmed = False
        self._said: set[str] = set()
        self._lines = _Lines()

    def look(self, record: Callable[[], RunRecord], *, alarm: bool = False) -> None:
        """Diagnose the run so far and say what is new, if that is worth its time.

        The first two looks (before the first step and after the first epoch) always are, and so is
        the first one with `alarm`; later ones only while all of them together take less than
        `SHARE` of the time since training began.

        Args:
            record: Makes the record of the run so far.
            alarm: Something broke: numbers stopped being finite.
        """
        now = self._clock()
        news = alarm and not self._alarmed
        if self._looks >= 2 and not news and not self._affordable(now):
            return
        self._alarmed = self._alarmed or alarm
        report = Report.of(record(), self._rules, self._ignore)
        for finding in certain(report):
            if finding.severity >= self._least and finding.rule not in self._said:
                self._said.add(finding.rule)
                self._lines.say(line(finding, report.record))
        self._looks += 1
        self._last_cost = self._clock() - now
        self._spent += self._last_cost

    def _affordable(self, now: float) -> bool:
        return self._spent + self._last_cost <= SHARE * (now - self._begun)


def certain(report: Report) -> tuple[Finding, ...]:
    """Root causes that training longer cannot change.

    The configuration and the data do not change while a run lasts, and a loss that is NaN stays
    NaN. Whether a loss is stuck or diverges, only the end tells.
    """
    broken, config = _is_broken(report.record), report.record.source == "config"

    def lasts(finding: Finding) -> bool:
        fatal = config and finding.severity is Severity.ERROR
        return broken or fatal or finding.stage <= Stage.DATA

    return tuple(f for f in report.problems if f.explained_by is None and lasts(f))


def line(finding: Finding, record: RunRecord) -> str:
    """A finding in one line."""
    epochs = 0 if record.history is None else int(record.history.epochs[-1]) + 1
    when = f"after epoch {epochs:,}" if epochs else "before the first step"
    text = f"LossDoctor {finding.severity.name} {when}: {finding.title}. {finding.message}"
    return textwrap.shorten(text, _LONGEST, placeholder=" ...")


def _is_broken(record: RunRecord) -> bool:
    losses = record.history.logs.get("loss") if record.history else None
    nowhere = losses is not None and len(losses) > 0 and not math.isfinite(losses[-1])
    return record.non_finite is not None or nowhere


class _Lines:
    """Where lines go: to standard output, in a notebook to one display that grows in place."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._display: Any = None

    def say(self, text: str) -> None:
        self._lines.append(text)
        if not _in_notebook():
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            print(text.encode(encoding, "replace").decode(encoding), flush=True)
            return
        every = "\n".join(self._lines)
        shown = {"text/plain": every, "text/html": f"<pre>{html.escape(every)}</pre>"}
        if self._display is None:
            display = importlib.import_module("IPython.display").display
            self._display = display(shown, raw=True, display_id=True)
        else:
            self._display.update(shown, raw=True)


def _in_notebook() -> bool:
    """Whether this is an IPython kernel, whose displays can be updated; its terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
