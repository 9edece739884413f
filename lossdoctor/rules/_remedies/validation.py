"""Remedies that prepare training and validation data alike."""

from __future__ import annotations

from lossdoctor.evidence.distribution_shift import Shift
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.data import split_again

_ALIKE = 2.0


def compare_sides() -> Remedy:
    """Look at how both sides were made."""
    return Remedy(
        text="Compare how both sides were made: the columns in the same order, one tokenizer, "
        "encoder and scaler fitted on training rows and only applied to the others, rows and "
        "labels still side by side. No model or penalty mends it.",
        code="print(np.asarray(X)[:3], np.asarray(X_val)[:3], sep='\\n')\n"
        "print(np.unique(y, return_counts=True), np.unique(y_val, return_counts=True))",
    )


def prepare_alike(found: Shift, setup: Setup) -> Remedy:
    """Put validation data through what training data went through."""
    if setup.fit.validation_split:
        return split_again(
            setup, ", unless the rows are a series in time, whose future no model can know by heart"
        )
    if found.class_distance is not None:
        return split_again(setup, ", and encode both sides with the same table")
    place = "" if "[" not in found.name else f"[{found.index}]"
    if found.pixel_factor is not None:
        side = "X_val" if found.pixel_factor else "X"
        return Remedy(
            text=f"Divide {side} by 255 as well: only the other side is.",
            code=f'{side}{place} = np.asarray({side}{place}).astype("float32") / 255',
        )
    narrow, wide = sorted((found.train[1], found.validation[1]))
    # A level that moved at the same spread may be the work of time as well as of a scaler.
    moved = wide <= _ALIKE * narrow
    side, rows = ("y", "targets") if found.kind == "target" else ("X", "rows")
    return Remedy(
        text=f"Put the validation {rows} through the preprocessing of the training {rows}: "
        f"scaler.transform with the scaler fitted on {side}. Where that scaler is lost, give them "
        "the training data's center and scale"
        + (
            ". Of a series whose level moves with time neither side is wrong: let the model "
            "predict changes instead of levels."
            if moved
            else ", as below."
        ),
        code=""
        if moved and found.kind == "target"
        else f"train, val = np.asarray({side}{place}), np.asarray({side}_val{place})\n"
        "axes = tuple(range(max(train.ndim - 1, 1)))\n"
        "spread = np.where(val.std(axis=axes) > 0, val.std(axis=axes), 1.0)\n"
        f"{side}_val{place} = (val - val.mean(axis=axes)) / spread * train.std(axis=axes)\n"
        f"{side}_val{place} = {side}_val{place} + train.mean(axis=axes)",
    )
