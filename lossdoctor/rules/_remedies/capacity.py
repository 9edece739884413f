"""Remedies that ask whether, and help that, a model can represent its task."""

from __future__ import annotations

from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.record.run import LayerRecord
from lossdoctor.rules._remedies.code import rebuild_code

LARGER = 4
LEAST_UNITS = 32
_CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D"}


def learn_by_heart() -> Remedy:
    """Train on a few examples only: whoever cannot learn those cannot learn at all."""
    return Remedy(
        text="Nothing recorded singles out one cause, so halve the question: train on 16 examples "
        "for 500 epochs. If the loss stays where it is, the fault lies in the model, the loss or "
        "the labels' encoding; if it falls to its floor, the inputs say little about the targets "
        "or the model is too small for all of them.",
        code="X, y, epochs = X[:16], y[:16], 500",
    )


def record_it(why: str) -> Remedy:
    """What a history cannot tell, a recorded run does."""
    return Remedy(
        text=f"Run once more with the doctor: {why}.",
        code="from lossdoctor import LossDoctor\n"
        "model.fit(X, y, epochs=epochs, callbacks=[LossDoctor()])",
    )


def wider(setup: Setup, layer: LayerRecord) -> list[Remedy]:
    """Let more than one number of each example through the layer."""
    if layer.kernel is not None:
        return larger_model(setup)
    if "pool_size" not in layer.config:
        return [
            Remedy(
                text=f"Give the layer before '{layer.name}' 32 channels or more: pooled over all "
                "positions, each channel leaves one number."
            )
        ]
    return [
        Remedy(
            text=f"Let '{layer.name}' pool over 2 neighbors along each axis instead of all.",
            code=rebuild_code(setup, {layer.name: {"pool_size": 2, "strides": 2}}),
        )
    ]


def larger_model(setup: Setup) -> list[Remedy]:
    """Four times the units of the hidden layers, at least 32; 32 filters where there are fewer."""
    heads = {output.layer for output in setup.model.outputs}
    hidden = [x for i, x in enumerate(setup.model.layers) if i not in heads and x.units]
    changes: dict[str, dict[str, int]] = {}
    for layer in hidden:
        if layer.class_name == "Dense":
            changes[layer.name] = {"units": max(LEAST_UNITS, LARGER * (layer.units or 0))}
        elif layer.class_name in _CONVOLUTIONS and (layer.units or 0) < LEAST_UNITS:
            changes[layer.name] = {"filters": LEAST_UNITS}
    if not changes or setup.model.kind == "subclassed":
        return [
            Remedy(
                text="Give the model a (larger) hidden layer: Dense(64, activation='relu') before "
                "its last one."
            )
        ]
    shown = ", ".join(
        f"'{name}' to {size} {kind}" for name, new in changes.items() for kind, size in new.items()
    )
    return [
        Remedy(
            text=f"Enlarge the hidden layers ({shown}): the inputs hold more than this "
            "model can take up.",
            code=rebuild_code(setup, changes),
        )
    ]
