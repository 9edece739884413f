"""Remedies for optimizer settings that cannot work whatever the task."""

from __future__ import annotations

from typing import Any

from lossdoctor.evidence.optimizer_use import OptimizerUse
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import SCHEDULER, compile_code, without_callback

_USUAL_RATES = {"SGD": 0.01, "Adagrad": 0.01, "Adadelta": 1.0, "Lion": 1e-4}


def usual_rate(use: OptimizerUse) -> Remedy:
    """The rate this optimizer is usually started with."""
    rate = _USUAL_RATES.get(use.optimizer.class_name, 0.001)
    return Remedy(
        text=f"Start from {rate:g}, the usual rate of {use.optimizer.class_name}.",
        code=compile_code(use.setup, learning_rate=rate),
    )


def constant_rate(use: OptimizerUse) -> Remedy:
    """The schedule's peak, kept; where a callback lowers the rate, a more patient one."""
    if use.optimizer.schedule is None and use.lowered_on_plateaus:
        return Remedy(
            text="The loss was still falling when ReduceLROnPlateau cut the rate: look at its mode "
            "(an accuracy is to rise), let it watch a curve with less noise, for longer (patience "
            "of 5 to 10 epochs), with a min_delta far below the gains of an epoch and a factor of "
            "0.2 to 0.5. The code takes it out.",
            code=without_callback("ReduceLROnPlateau"),
        )
    if use.optimizer.schedule is None:
        return Remedy(
            text="Take out what lowers the rate, or let it fall over the whole run: to a hundredth "
            "at its end, by epochs or steps as it is called.",
            code=without_callback(SCHEDULER) if use.setup.has_callback(SCHEDULER) else "",
        )
    return Remedy(
        text="Train at the schedule's own first rate, or stretch it to the length of the run "
        "(decay_steps counts steps, not epochs): more epochs at the end would change nothing.",
        code=compile_code(use.setup, learning_rate=use.rate),
    )


def wider_clipping(use: OptimizerUse) -> Remedy:
    """A clipping limit that stops exceptional steps only."""
    limit: dict[str, Any] = {use.clipping: 1.0}
    return Remedy(
        text="Clip at 1, which stops exceptional steps only; a larger learning rate would undo the "
        "clipping by hand.",
        code=compile_code(use.setup, **limit),
    )


def defaults(use: OptimizerUse, **settings: Any) -> Remedy:
    """The default of some settings."""
    shown = " and ".join(f"{name}={value:g}" for name, value in settings.items())
    return Remedy(text=f"Use {shown}, the default.", code=compile_code(use.setup, **settings))
