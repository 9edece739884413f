"""Findings nested under the cause that explains them, as every renderer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossdoctor.finding import Finding


@dataclass(frozen=True, kw_only=True)
class Node:
    """A finding and the findings it explains."""

    finding: Finding
    children: tuple[Node, ...] = ()


def tree(findings: Sequence[Finding]) -> tuple[Node, ...]:
    """Nest ranked `findings`.

    Findings of one rule stand together; what the rule explains hangs below the last of them.
    """
    present = {finding.rule for finding in findings}

    def below(cause: str | None) -> tuple[Node, ...]:
        here = [
            f for f in findings if (f.explained_by if f.explained_by in present else None) == cause
        ]
        last = {f.rule: position for position, f in enumerate(here)}
        return tuple(
            Node(finding=f, children=below(f.rule) if last[f.rule] == position else ())
            for position, f in enumerate(here)
        )

    return below(None)
