"""Twins whose examples are wrong: their scale, their values, their labels, or their split."""

from __future__ import annotations

import numpy as np

from lossdoctor.cases import data
from lossdoctor.cases.faults import (
    both,
    column_times,
    entry,
    everywhere,
    few_of,
    first,
    held_out,
    missing_code,
    outliers,
    relabeled,
    rows,
    setting,
    shuffled,
    sorted_rows,
    source,
    times,
    training,
    validation_from_training,
)
from lossdoctor.cases.twins.proofs import FRESH_ROWS, less_likely
from lossdoctor.cases.twins.twin import Twin, before_training


def _thousandfold(base: str, *symptoms: str) -> Twin:
    fault = everywhere(X=times(1e3))
    return Twin(f"{base}/features-x1000", fault, "features × 1000", symptoms=symptoms)


EXAMPLES = (
    *before_training(
        "unscaled_inputs",
        _thousandfold("regression-mse"),
        _thousandfold("circles-bce", "high_initial_loss"),
        _thousandfold("blobs-categorical"),
        Twin(
            "regression-mse/one-feature-x1e5",
            everywhere(X=column_times(3, 1e5)),
            "one feature × 100,000",
        ),
        Twin(
            "blobs-sparse-adam/one-feature-x1e5",
            everywhere(X=column_times(1, 1e5)),
            "one feature × 100,000",
        ),
    ),
    *before_training(
        "unscaled_targets",
        Twin(
            "regression-mse/unscaled-target",
            source(data.unscaled_regression),
            "the target as `make_regression` gives it, without StandardScaler",
        ),
    ),
    *before_training(
        "non_finite_data",
        Twin("regression-mse/nan-in-x", training(X=entry(17, np.nan, 4)), "NaN in one cell of x"),
        Twin("regression-mae/nan-in-y", training(y=entry(17, np.nan)), "NaN in one target"),
        Twin("circles-bce/nan-in-x", training(X=entry(17, np.nan, 0)), "NaN in one cell of x"),
        Twin(
            "blobs-sparse/infinity-in-x",
            training(X=entry(17, np.inf, 1)),
            "infinity in one cell of x",
        ),
    ),
    *before_training(
        "target_outliers",
        Twin(
            "regression-mse/target-outliers",
            training(y=outliers(50, 1000)),
            "every 50th target a thousand times too large",
            beside=("unscaled_targets", "validation_shift"),
        ),
    ),
    *before_training(
        "input_outliers",
        Twin(
            "regression-mse/missing-values-999",
            everywhere(X=missing_code(97, 999.0)),
            "999 stands for a missing value in 1 % of all cells",
            beside=("unscaled_inputs",),
        ),
    ),
    *before_training(
        "constant_features",
        Twin(
            "regression-mse/zeroed-inputs",
            everywhere(X=times(0)),
            "all inputs 0 after integer division",
            beside=("uninformative_inputs",),
        ),
    ),
    *before_training(
        "unmasked_padding",
        Twin(
            "tokens-gru/padded-behind",
            everywhere(X=lambda X: np.roll(X, 20, axis=1)),
            "sequences filled up with zeros behind their last word instead of in front",
        ),
    ),
    *before_training(
        "uninformative_inputs",
        Twin(
            "blobs-sparse/shuffled-labels",
            training(y=shuffled),
            "labels shuffled apart from their inputs",
            also_right=("label_noise",),
        ),
    ),
    *before_training(
        "label_noise",
        Twin(
            "digits/flipped-labels",
            training(y=relabeled(0.35, 10)),
            "35 % of the labels are those of the next digit",
            harm=less_likely(0.1),
        ),
        Twin(
            "blobs-sparse/flipped-labels",
            training(y=relabeled(0.4, 3)),
            "40 % of the labels are those of the next class",
            harm=less_likely(0.15),
        ),
    ),
    *before_training(
        "missing_class",
        Twin(
            "circles-bce/one-label",
            training(y=times(0)),
            "all training labels are 0",
            beside=("uninformative_inputs", "class_imbalance", "validation_shift"),
        ),
        Twin(
            "blobs-sparse/class-only-in-validation",
            rows(few_of(2, 0)),
            "class 2 stands only in the validation rows",
            beside=("class_imbalance", "validation_shift"),
        ),
    ),
    *before_training(
        "class_imbalance",
        Twin(
            "circles-bce/rare-class",
            rows(few_of(1, 8)),
            "8 rows of class 1 against some 250 of class 0",
            beside=("validation_shift",),
        ),
    ),
    *before_training(
        "ordered_data",
        Twin(
            "blobs-sparse/sorted-labels-tail-validation",
            both(rows(sorted_rows), setting(fit={"validation_split": 0.4})),
            "rows sorted by class and `validation_split=0.4`, which takes the tail",
            beside=("missing_class", "class_imbalance", "validation_shift"),
        ),
    ),
    *before_training(
        "validation_shift",
        Twin(
            "regression-mse/validation-unscaled",
            held_out(X=lambda X: 5 * X + 20),
            "inputs standardized for training only",
        ),
    ),
    *before_training(
        "validation_overlap",
        Twin(
            "digits/validation-from-training",
            validation_from_training(),
            "validation rows taken from the training rows",
            harm=FRESH_ROWS,
        ),
    ),
    *before_training(
        "too_few_examples",
        Twin(
            "regression-mse/twelve-rows",
            rows(first(12)),
            "12 rows for 20 features",
            beside=("validation_shift",),
        ),
    ),
)
