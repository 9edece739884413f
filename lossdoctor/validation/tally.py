"""How often the doctor is right on drawn cases: shares, precision, recall, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossdoctor.finding import Severity
from lossdoctor.validation.reliability import Reliability
from lossdoctor.validation.training import Examination
from lossdoctor.validation.words import share

if TYPE_CHECKING:
    from rich.console import Console

NOTHING = "(nothing)"
"""Stands for the first finding where nothing was found."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One drawn case.

    `healthy` is None when the set-up did not train well enough to count, `broken` when no fault
    hurt it. `truth` are the slugs that are right as the first finding, the most fitting one first;
    `causes` are those of every fault that does harm.
    """

    index: int
    title: str
    healthy: Examination | None = None
    broken: Examination | None = None
    truth: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The first finding on the broken run."""
        return _first(self.broken)

    @property
    def right(self) -> bool:
        """Whether it names the root cause."""
        return self.first in self.truth

    @property
    def rank(self) -> int | None:
        """Place of the root cause among the findings, counted from 1."""
        return self.broken.rank(self.truth) if self.broken else None

    @property
    def right_before(self) -> bool:
        """Whether `check_config` alone names the root cause first."""
        found = self.broken.findings_before if self.broken else ()
        return bool(found) and found[0].rule in self.truth


def _first(examination: Examination | None) -> str:
    """The first finding that accuses: INFO says itself that there is nothing to fix."""
    found = examination.findings if examination else ()
    return next((f.rule for f in found if f.severity >= Severity.WARNING), NOTHING)


@dataclass(frozen=True, kw_only=True)
class RuleTally:
    """One rule over all broken runs.

    Attributes:
        cause: Runs whose root cause it names best.
        recalled: Of these, how many had the right cause first.
        accused: Runs on which it stands first.
        rightly: Of these, how many it stands first on rightly.
        healthy: Healthy runs on which it gives WARNING or ERROR.
    """

    slug: str
    cause: int
    recalled: int
    accused: int
    rightly: int
    healthy: int

    @property
    def recall(self) -> float | None:
        """Share of the runs with this cause that were recognized."""
        return self.recalled / self.cause if self.cause else None

    @property
    def precision(self) -> float | None:
        """Share of its accusations that are right."""
        return self.rightly / self.accused if self.accused else None


@dataclass(frozen=True, kw_only=True)
class RandomResult:
    """All drawn cases."""

    judged: tuple[Judged, ...]

    @property
    def broken(self) -> tuple[Judged, ...]:
        """Those with a fault that hurts."""
        return tuple(judged for judged in self.judged if judged.broken)

    @property
    def healthy(self) -> tuple[Examination, ...]:
        """The runs of all set-ups that train well."""
        return tuple(judged.healthy for judged in self.judged if judged.healthy)

    @property
    def ok(self) -> bool:
        """Whether every root cause stands first and no healthy run is flagged."""
        return all(judged.right for judged in self.broken) and not any(
            run.alarms() for run in self.healthy
        )

    def summary(self) -> str:
        """How often the doctor is right, in one line."""
        broken = self.broken
        flagged = [bool(run.alarms()) for run in self.healthy]
        return " · ".join(
            (
                f"root cause first {share([judged.right for judged in broken])}",
                f"among the first three {share([(j.rank or 9) <= 3 for j in broken])}",
                f"by check_config alone {share([judged.right_before for judged in broken])}",
                f"healthy runs flagged {share(flagged)}",
            )
        )

    def rules(self) -> tuple[RuleTally, ...]:
        """One tally for each rule that is a cause or was found."""
        alarms = Counter(slug for run in self.healthy for slug in run.alarms())
        slugs = {judged.truth[0] for judged in self.broken} | alarms.keys()
        slugs |= {judged.first for judged in self.broken} - {NOTHING}
        return tuple(self._tally(slug, alarms[slug]) for slug in sorted(slugs))

    def _tally(self, slug: str, healthy: int) -> RuleTally:
        caused = [judged for judged in self.broken if judged.truth[0] == slug]
        accused = [judged for judged in self.broken if judged.first == slug]
        return RuleTally(
            slug=slug,
            cause=len(caused),
            recalled=sum(judged.right for judged in caused),
            accused=len(accused),
            rightly=sum(judged.right for judged in accused),
            healthy=healthy,
        )

    def reliability(self, source: str) -> Reliability:
        """How the probabilities held, after training (`"run"`) or before it (`"config"`)."""
        told = (
            (finding, causes)
            for judged in self.judged
            for run, causes in ((judged.healthy, ()), (judged.broken, judged.causes))
            if run
            for finding in (run.findings if source == "run" else run.findings_before)
        )
        return Reliability.of(
            (finding.probability, finding.rule in causes)
            for finding, causes in told
            if finding.probability is not None
        )

    def confusions(self) -> Counter[tuple[str, str]]:
        """How often which true cause met which wrong first finding."""
        wrong = (judged for judged in self.broken if not judged.right)
        return Counter((judged.truth[0], judged.first) for judged in wrong)

    def print_tables(self, console: Console) -> None:
        """Print the rules, the confusions, every case that went wrong, and the summary."""
        from rich.table import Table
        from rich.text import Text

        def table(*names: str) -> Table:
            made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
            for name in names:
                made.add_column(name, no_wrap=name != "what is wrong")
            return made

        rules = table("rule", "recall", "", "precision", "", "healthy runs flagged")
        for tally in self.rules():
            rules.add_row(
                tally.slug,
                _percent(tally.recall),
                f"{tally.recalled}/{tally.cause}" if tally.cause else "",
                _percent(tally.precision),
                f"{tally.rightly}/{tally.accused}" if tally.accused else "",
                str(tally.healthy or ""),
            )
        console.print(rules)
        confusions = table("true cause", "first finding", "runs")
        for (cause, found), count in self.confusions().most_common():
            confusions.add_row(cause, found, str(count))
        if confusions.row_count:
            console.print("\nConfusions", style="bold")
            console.print(confusions)
        for source, when in (("run", "after training"), ("config", "by check_config alone")):
            reliability = self.reliability(source)
            bins = table("probability", "findings", "said", "true")
            for b in reliability.bins:
                bins.add_row(
                    f"{b.low:.1f}-{b.high:.1f}", str(b.findings), f"{b.said:.2f}", f"{b.true:.2f}"
                )
            if bins.row_count:
                error = f"expected calibration error {reliability.error:.3f}"
                console.print(f"\nProbability of being a root cause, {when}: {error}", style="bold")
                console.print(bins)
        wrong = table("case", "what is wrong")
        for name, text in self._wrong():
            wrong.add_row(name, Text(text))
        if wrong.row_count:
            console.print("\nWrong", style="bold")
            console.print(wrong)
        console.print(
            f"\n{len(self.judged)} set-ups drawn, {len(self.healthy)} train well, "
            f"{len(self.broken)} of these broken. {self.summary()}",
            style="bold",
        )

    def _wrong(self) -> Iterator[tuple[str, str]]:
        for judged in self.judged:
            if judged.healthy and judged.healthy.alarms():
                yield judged.healthy.case, f"healthy, but {_listed(judged.healthy.alarms())}"
            if judged.broken and not judged.right:
                place = f" (place {judged.rank})" if judged.rank else ""
                yield judged.broken.case, f"{judged.first}, not {_listed(judged.truth)}{place}"
            for run in (judged.healthy, judged.broken):
                for failure in run.failed_rules if run else ():
                    yield judged.title, f"rule failed: {failure}"


def _listed(slugs: Iterable[str]) -> str:
    return ", ".join(slugs)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
