"""A random fault: what it does to a set-up, and which rules name it rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lossdoctor.cases.case import Proof
from lossdoctor.cases.faults import Fault
from lossdoctor.cases.random.setups import SetUp
from lossdoctor.cases.random.tasks import Random
from lossdoctor.finding import Stage

Injector = Callable[[SetUp, Random], Fault | None]
Harm = Callable[[SetUp], Proof]


@dataclass(frozen=True, kw_only=True)
class RandomFault:
    """One way to break set-ups.

    `truth` are the slugs that name the root cause, the most fitting one first; the others are
    other names of the same thing. `inject` draws the fault's details, or gives None for a set-up
    that cannot have it. `harm` is how it shows where no lower score shows it.
    """

    name: str
    stage: Stage
    truth: tuple[str, ...]
    inject: Injector
    harm: Harm | None = None


FAULTS: list[RandomFault] = []
"""All of them, in the order of definition."""


def fault(stage: Stage, *truth: str, harm: Harm | None = None) -> Callable[[Injector], Injector]:
    """Register an injector under its own name."""

    def register(inject: Injector) -> Injector:
        name = inject.__name__.strip("_").replace("_", "-")
        FAULTS.append(RandomFault(name=name, stage=stage, truth=truth, inject=inject, harm=harm))
        return inject

    return register
