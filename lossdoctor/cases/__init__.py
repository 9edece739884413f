"""Tutorial set-ups, healthy and deliberately broken, and healthy controls.

    from lossdoctor.cases import cases, get_case

    trial = get_case("circles-bce/labels-minus-1-1").materialize(seed=1)
    trial.train(callbacks=[LossDoctor()])

Listing cases does not import Keras; building one does.
"""

from __future__ import annotations

import difflib
import functools

from lossdoctor.cases.case import Case, Proof, Trial

__all__ = ["Case", "Proof", "Trial", "cases", "get_case"]


@functools.cache
def cases() -> tuple[Case, ...]:
    """All cases: the tutorials, their broken twins, the healthy controls."""
    from lossdoctor.cases.controls import CONTROLS
    from lossdoctor.cases.tutorials import TUTORIALS, VARIANTS
    from lossdoctor.cases.twins import TWINS

    return (*TUTORIALS, *VARIANTS, *TWINS, *CONTROLS)


def get_case(name: str) -> Case:
    """The case of that name.

    Raises:
        ValueError: If there is none; names the closest ones.
    """
    known = {case.name: case for case in cases()}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f"Did you mean {', '.join(map(repr, close))}? " if close else ""
    raise ValueError(
        f"There is no case {name!r}. {hint}`lossdoctor demo --list` shows all {len(known)} cases."
    )
