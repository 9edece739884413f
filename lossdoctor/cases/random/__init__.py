"""Random set-ups with random faults, each drawn from a seed and its number alone.

    from lossdoctor.cases.random import draw

    drawn = draw(seed=1, index=17)
    trial = drawn.broken[0].case.materialize()

What counts as the root cause is what was injected and does harm, never what the doctor says.
"""

from lossdoctor.cases.random.draw import TRIES, Broken, Drawn, draw

__all__ = ["TRIES", "Broken", "Drawn", "draw"]
