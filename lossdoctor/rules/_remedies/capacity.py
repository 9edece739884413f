"""Remedies that ask whether, and help that, a model can represent its task."""

from __future__ import annotations

from lossdoctor.finding import Remedy


def learn_by_heart() -> Remedy:
    """Train on a few examples only: whoever cannot learn those cannot learn at all."""
    return Remedy(
        text="Nothing recorded singles out one cause, so halve the question: train on 16 examples "
        "for 500 epochs. If the loss stays where it is, the fault lies in the model, the loss or "
        "the labels' encoding; if it falls to its floor, the inputs say little about the targets "
        "or the model is too small for all of them.",
        code="X, y, epochs = X[:16], y[:16], 500",
    )
