"""Before training: read the compiled model and the data, and say what cannot go right."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from lossdoctor.report import Report
from lossdoctor.rules import Rule


def check_config(
    model: Any,
    y: Any = None,
    *,
    x: Any = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    batch_size: int | None = None,
    epochs: int | None = None,
    class_weight: Any = None,
    sample_weight: Any = None,
    rehearse: bool = True,
    rules: Iterable[Rule] | None = None,
    ignore: Collection[str] = (),
) -> Report:
    """Check a compiled model against its data before training.

    The model is left as it is. Pass what `fit` will get; the more is passed, the more rules can
    decide. Given `x` and `y`, the first steps of the training are rehearsed on copies of the
    weights (at most 64 steps or 2 seconds), to tell whether the learning rate will be stable.

    Example:

    ```python
    report = check_config(model, y, x=X, epochs=100)
    print(report)
    ```

    Args:
        model: A compiled `keras.Model`.
        y: Targets as for `fit`: NumPy array, DataFrame, list, tensor, or a list/dict of them; or a
            `tf.data.Dataset` / `keras.utils.PyDataset` of `(x, y)` batches, of which the first
            512 batches are read.
        x: Inputs as for `fit` (or the dataset).
        validation_data: `(x_val, y_val)` or a dataset, as for `fit`.
        validation_split: As for `fit`.
        shuffle: As for `fit`.
        batch_size: As for `fit`.
        epochs: As for `fit`.
        class_weight: As for `fit`.
        sample_weight: As for `fit`.
        rehearse: Whether to rehearse the first steps.
        rules: Rule instances to run; by default all.
        ignore: Slugs of rules to leave out.

    Returns:
        A `Report`.

    Raises:
        ValueError: If the model is not a compiled Keras model, or the data are missing, empty,
            neither numbers nor strings, or differ in length; the message names the argument and
            the fix.
    """
    import keras

    from lossdoctor.record.configuration import record_configuration

    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a Keras model. "
            f"Received: model={model!r} of type {type(model).__name__}."
        )
    if not model.compiled:
        raise ValueError(
            "`model` is not compiled, so there is no loss to check. Call "
            "model.compile(optimizer=..., loss=...) first, with the arguments you will train with."
        )
    if not isinstance(rehearse, bool):
        raise ValueError(f"`rehearse` must be True or False. Received: rehearse={rehearse!r}.")
    if not 0.0 <= validation_split < 1.0:
        raise ValueError(
            "`validation_split` must be at least 0 and below 1. "
            f"Received: validation_split={validation_split!r}."
        )
    record = record_configuration(
        model,
        y,
        x=x,
        validation_data=validation_data,
        validation_split=validation_split,
        shuffle=shuffle,
        batch_size=batch_size,
        epochs=epochs,
        class_weight=class_weight,
        sample_weight=sample_weight,
        rehearse=rehearse,
    )
    return Report.of(record, rules=rules, ignore=ignore)
