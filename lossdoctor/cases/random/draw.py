"""Draw a case from a seed and its number: a healthy set-up, and several tries to break it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossdoctor.cases.case import Case, Proof, Trial
from lossdoctor.cases.faults import Fault
from lossdoctor.cases.random import contract_faults, data_faults, training_faults  # noqa: F401
from lossdoctor.cases.random.fault import FAULTS, RandomFault
from lossdoctor.cases.random.setups import SetUp, draw_setup
from lossdoctor.cases.random.tasks import Random, Task
from lossdoctor.finding import Stage

TRIES = 3
"""How many faults are tried on a set-up before it is given up as unbreakable."""

_GOOD, _HURT = 0.85, 0.2
"""In shares of the way from the best constant answer to perfection: what a healthy set-up
reaches, and how much of it a fault must destroy."""

_PAIRS = 0.25
_STAGES = {
    Stage.CONTRACT: 0.3,
    Stage.DATA: 0.28,
    Stage.STEP_SIZE: 0.17,
    Stage.ARCHITECTURE: 0.17,
    Stage.BUDGET: 0.08,
}
"""How often faults of each stage are drawn."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A set-up with one or two faults, in the order of their repair.

    `alone` are the cases with each of two faults by itself, whose harm tells which of them
    matters.
    """

    case: Case
    faults: tuple[RandomFault, ...]
    alone: tuple[Case, ...] = ()

    def truth(self, harmful: Sequence[bool]) -> tuple[str, ...]:
        """The slugs that are right as the first finding.

        Args:
            harmful: For each fault, whether it does harm alone. Of two that do, the one to be
                repaired first is right; where only both together do harm, either is.
        """
        hurting = [fault for fault, hurts in zip(self.faults, harmful) if hurts]
        return _slugs(hurting[:1] or self.faults)

    def causes(self, harmful: Sequence[bool]) -> tuple[str, ...]:
        """The slugs of every fault that does harm alone, or of both where neither does."""
        hurting = [fault for fault, hurts in zip(self.faults, harmful) if hurts]
        return _slugs(hurting or self.faults)


def _slugs(faults: Sequence[RandomFault]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(slug for fault in faults for slug in fault.truth))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A healthy case and the broken ones that were made of it."""

    healthy: Case
    broken: tuple[Broken, ...]


def draw(seed: int, index: int) -> Drawn:
    """Case number `index` of a seed; the same whatever else is drawn."""
    random = np.random.default_rng([seed, index])
    setup = draw_setup(random)
    task = setup.task
    healthy = Case(
        name=f"random-{seed}-{index}",
        title=_title(setup),
        recipe=setup.recipe,
        harm=_lower_score(task),
        passing=task.chance + _GOOD * (1 - task.chance),
    )
    tries = (np.random.default_rng([seed, index, i]) for i in range(TRIES))
    return Drawn(
        healthy=healthy,
        broken=tuple(_break(setup, healthy, random, i) for i, random in enumerate(tries)),
    )


def _title(setup: SetUp) -> str:
    layers = " ".join(str(spec.maker).removeprefix("layers.") for spec in setup.recipe.layers)
    optimizer = str(setup.recipe.optimizer.maker).removeprefix("optimizers.")
    return f"{setup.task.name} ({setup.variant}): {layers}; {optimizer} {setup.rate:g}"


def _lower_score(task: Task) -> Proof:
    return Proof(
        claim=f"{task.score.name} on held-out rows, recomputed from predictions, is lower",
        measure=Trial.score,
        by=_HURT * (1 - task.chance),
        worst=task.score.worst,
    )


def _break(setup: SetUp, healthy: Case, random: Random, number: int) -> Broken:
    first, inject = _draw_fault(setup, random, FAULTS)
    drawn = [(first, inject)]
    if first.harm is None and random.random() < _PAIRS:
        others = [f for f in FAULTS if f.stage != first.stage and f.harm is None]
        drawn.append(_draw_fault(setup, random, others))
    drawn.sort(key=lambda pair: pair[0].stage)
    faults = tuple(fault for fault, _ in drawn)

    def case(chosen: Sequence[tuple[RandomFault, Fault]]) -> Case:
        recipe = setup.recipe
        for _, change in chosen:
            recipe = change(recipe)
        what = "+".join(fault.name for fault, _ in chosen)
        return replace(
            healthy,
            name=f"{healthy.name}/{number}-{what}",
            recipe=recipe,
            fault=what,
            healthy=healthy.name,
            harm=first.harm(setup) if first.harm else healthy.harm,
            passing=None,
        )

    alone = tuple(case([pair]) for pair in drawn) if len(drawn) > 1 else ()
    return Broken(case=case(drawn), faults=faults, alone=alone)


def _draw_fault(
    setup: SetUp, random: Random, candidates: Sequence[RandomFault]
) -> tuple[RandomFault, Fault]:
    """First the stage by its share, then any fault of it that the set-up can have."""
    stages = sorted({fault.stage for fault in candidates})
    share = np.array([_STAGES[stage] for stage in stages])
    for i in random.choice(len(stages), size=len(stages), replace=False, p=share / share.sum()):
        of_stage = [fault for fault in candidates if fault.stage == stages[i]]
        for j in random.permutation(len(of_stage)):
            change = of_stage[j].inject(setup, random)
            if change is not None:
                return of_stage[j], change
    raise AssertionError("Any set-up can have a wrong learning rate.")
