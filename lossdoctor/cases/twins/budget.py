"""Twins that are trained too long, too short, or on too little."""

from __future__ import annotations

from lossdoctor.cases.faults import both, first, hidden, rows, setting
from lossdoctor.cases.recipe import Spec
from lossdoctor.cases.twins.proofs import less_likely, lower
from lossdoctor.cases.twins.twin import Twin, in_training

_THIRTY_ROWS = both(rows(first(30)), both(hidden(units=500), setting(epochs=500)))
_EARLY_EXIT = Spec("callbacks.EarlyStopping", {"monitor": "val_accuracy", "patience": 0})

BUDGET = (
    *in_training(
        "overfitting",
        Twin(
            "circles-bce/thirty-rows",
            _THIRTY_ROWS,
            "30 rows, 500 units, 500 epochs",
            also_right=("overconfidence",),
            beside=("too_few_examples",),
        ),
    ),
    *in_training(
        "overconfidence",
        Twin(
            "blobs-sparse/thirty-rows",
            _THIRTY_ROWS,
            "30 rows, 500 units, 500 epochs",
            also_right=("overfitting",),
            beside=("too_few_examples",),
            harm=less_likely(0.1),
        ),
    ),
    *in_training(
        "undertrained",
        Twin("regression-mse/two-epochs", setting(epochs=2), "2 epochs only"),
        Twin("circles-bce/two-epochs", setting(epochs=2), "2 epochs only"),
    ),
    *in_training(
        "early_stopping_settings",
        Twin(
            "circles-bce-deep/impatient-stopping",
            setting(callbacks=(_EARLY_EXIT,)),
            "EarlyStopping with patience 0 on an accuracy that moves in jumps",
            also_right=("undertrained",),
            harm=lower(0.02),
        ),
    ),
)
