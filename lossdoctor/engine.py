"""Run every rule on a record. What a rule needs it is given; what fails stays its own outcome."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossdoctor.evidence import NotApplicable
from lossdoctor.finding import Finding, Outcome
from lossdoctor.probability import with_probability
from lossdoctor.ranking import rank
from lossdoctor.record.run import RunRecord
from lossdoctor.rules import Rule, default_rules, rule_classes
from lossdoctor.rules._remedies.code import say_what_arrays


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Ranked findings and one outcome per rule."""

    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]


def resolve_rules(
    rules: Iterable[Rule] | None = None, ignore: Collection[str] = ()
) -> tuple[tuple[Rule, ...], frozenset[str]]:
    """Validate `rules` and `ignore`; of several instances of one rule the last one counts.

    Raises:
        ValueError: If `rules` holds something other than rules, or `ignore` an unknown slug.
    """
    chosen: dict[str, Rule] = {}
    for rule in default_rules() if rules is None else rules:
        if not isinstance(rule, Rule):
            raise ValueError(
                "`rules` must hold rule instances, as in "
                "rules=[*default_rules(), VanishingGradients(norm_ratio=1e-5)]. "
                f"Received: {rule!r} of type {type(rule).__name__}."
            )
        chosen[rule.slug()] = rule
    names = [ignore] if isinstance(ignore, str) else list(ignore)
    known = chosen.keys() | rule_classes().keys()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"`ignore` names no rule: {', '.join(map(repr, unknown))}. "
            f"Known rules: {', '.join(sorted(known))}."
        )
    return tuple(chosen.values()), frozenset(names)


def diagnose_record(
    record: RunRecord, rules: Iterable[Rule] | None = None, ignore: Collection[str] = ()
) -> Diagnosis:
    """Run the rules on `record` and rank what they find. Pure: the same record, the same answer."""
    chosen, ignored = resolve_rules(rules, ignore)
    evidence = _Evidence(record)
    findings: list[Finding] = []
    outcomes: list[Outcome] = []
    for rule in chosen:
        # The numbers of a run that blew up overflow; NumPy's warnings would puzzle the user.
        with np.errstate(all="ignore"):
            found, outcome = _run(rule, evidence, rule.slug() in ignored)
        findings += [_addressed(finding, record) for finding in found]
        outcomes.append(outcome)
    ranked = rank(findings, {rule.slug(): rule.explains for rule in chosen})
    as_shipped = {rule.slug() for rule in set(chosen) & set(default_rules())}
    return Diagnosis(
        findings=with_probability(ranked, record.source, as_shipped),
        outcomes=tuple(outcomes),
    )


def _run(rule: Rule, evidence: _Evidence, ignored: bool) -> tuple[list[Finding], Outcome]:
    def outcome(status: Any, reason: str = "") -> Outcome:
        return Outcome(rule=rule.slug(), title=rule.title, status=status, reason=reason)

    if ignored:
        return [], outcome("ignored", "switched off by ignore=")
    try:
        given = {name: evidence.get(hint) for name, hint in rule.evidence().items()}
        found = list(rule.check(**given))  # type: ignore[attr-defined]
    except NotApplicable as missing:
        return [], outcome("not_applicable", str(missing))
    except Exception as error:
        # The user's training is worth more than one rule: its failure is reported, not raised.
        return [], outcome("failed", f"{type(error).__name__}: {error}")
    return found, outcome("found" if found else "clear")


def _addressed(finding: Finding, record: RunRecord) -> Finding:
    data = record.fit.data if record.fit else "arrays"
    remedies = tuple(say_what_arrays(remedy, data) for remedy in finding.remedies)
    return replace(finding, remedies=remedies)


class _Evidence:
    """Builds each kind of evidence from the record once, and remembers what could not be built."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._built: dict[type, Any] = {}

    def get(self, hint: Any) -> Any:
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            wanted = next(arg for arg in typing.get_args(hint) if arg is not type(None))
            try:
                return self.get(wanted)
            except NotApplicable:
                return None
        if hint not in self._built:
            try:
                self._built[hint] = hint.from_record(self._record)
            except Exception as error:
                self._built[hint] = error
        built = self._built[hint]
        if isinstance(built, Exception):
            raise built
        return built
