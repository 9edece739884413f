"""Turn what users hand over (arrays, frames, lists, tensors, datasets) into NumPy batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 65_536
MAX_BATCHES = 512
_SCALARS = (str, bytes, int, float, np.generic, type(None))


def kind_of_data(data: object) -> Literal["arrays", "dataset", "generator"]:
    """Whether `data` are arrays, a `tf.data.Dataset`, or yield batches by themselves otherwise, as
    a `PyDataset` or a generator does."""
    import tensorflow as tf

    if isinstance(data, tf.data.Dataset):
        return "dataset"
    yields = isinstance(data, Iterator) and not hasattr(data, "__array__")
    return "generator" if yields or isinstance(data, keras.utils.PyDataset) else "arrays"


def is_dataset(data: object) -> bool:
    """Whether `data` yields batches by itself."""
    return kind_of_data(data) != "arrays"


def to_array(data: Any, argument: str) -> NDArray[Any]:
    """One array-like as a NumPy array of numbers, or of strings where some entries are words.

    Raises:
        ValueError: If it is empty, ragged, or holds other objects; the message names `argument`
            and the fix.
    """
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` is not a rectangular array: its rows differ in length ({error}). Pad "
            "them to one length, for instance with keras.utils.pad_sequences."
        ) from error
    if array.dtype == object:
        array = _from_objects(array, argument)
        # A DataFrame converts its columns one by one; an array is taken as it is.
        if array.dtype.kind == "f" and hasattr(data, "dtype"):
            raise ValueError(
                f"`{argument}` holds numbers in an array of dtype object, which Keras refuses. "
                f"Convert it: {argument} = np.asarray({argument}, dtype='float32')."
            )
    if array.dtype.kind not in "biufSU":
        raise ValueError(
            f"`{argument}` has dtype {array.dtype}, which Keras cannot train on. Convert it to "
            f"numbers, for instance with np.asarray({argument}, dtype='float32')."
        )
    if array.size == 0:
        raise ValueError(
            f"`{argument}` is empty (shape {array.shape}). Pass at least one example; if a split "
            "or a filter produced it, check that step."
        )
    return array.reshape(1) if array.ndim == 0 else array


def _from_objects(array: NDArray[Any], argument: str) -> NDArray[Any]:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    if all(isinstance(value, _SCALARS) for value in array.reshape(-1)):
        return array.astype(str)
    kinds = sorted({type(value).__name__ for value in array.reshape(-1)[:200]})
    if set(kinds) <= {"list", "tuple", "ndarray"}:
        raise ValueError(
            f"`{argument}` holds rows of different lengths, which Keras cannot train on. Pad them "
            f"to one length: {argument} = keras.utils.pad_sequences({argument})."
        )
    raise ValueError(
        f"`{argument}` has dtype object (it mixes {', '.join(kinds)}), which Keras cannot train "
        f"on. Convert it to one numeric array, for instance np.asarray({argument}.tolist(), "
        "dtype='float32'), and make sure that all rows have the same length."
    )


def column_names(data: Any) -> tuple[str, ...]:
    """The column names of a DataFrame, or the name of a Series; () for everything else."""
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return tuple(str(name) for name in data.columns)
    if hasattr(data, "iloc") and getattr(data, "name", None) is not None:
        return (str(data.name),)
    return ()


def is_list_of_numbers(data: Any) -> bool:
    """Whether `data` is a list of numbers, words or rows: one array to us, none to Keras."""
    if not isinstance(data, list):
        return False
    return not data or not hasattr(data[0], "shape") or np.ndim(data[0]) == 0


def to_arrays(data: Any, argument: str) -> list[NDArray[Any]]:
    """All leaves of a possibly nested argument. A list of numbers or of rows is one array."""
    if isinstance(data, dict):
        return [to_array(data[key], f"{argument}[{key!r}]") for key in sorted(data)]
    if isinstance(data, (list, tuple)) and not is_list_of_numbers(data):
        return [to_array(item, f"{argument}[{i}]") for i, item in enumerate(data)]
    return [to_array(data, argument)]


def batches_of(dataset: Any) -> Iterator[tuple[list[NDArray[Any]], list[NDArray[Any]], Any]]:
    """Flat `(inputs, targets, sample weights)` of at most `MAX_BATCHES` batches of a dataset.

    Raises:
        ValueError: If an item is not a tuple `(x, y)` or `(x, y, sample_weight)`, or no batch.
    """
    source = (dataset[i] for i in range(len(dataset))) if _is_indexed(dataset) else iter(dataset)
    for number, batch in enumerate(source):
        if number == MAX_BATCHES:
            return
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise ValueError(
                "the dataset yields inputs without targets. check_config needs batches (x, y) or "
                "(x, y, sample_weight), as `fit` does; for an autoencoder yield (x, x)."
            )
        x, y, *rest = batch
        inputs = [to_array(leaf, "x") for leaf in keras.tree.flatten(x)]
        targets = [to_array(leaf, "y") for leaf in keras.tree.flatten(y)]
        weight = to_array(rest[0], "sample_weight") if rest and rest[0] is not None else None
        if any(np.ndim(leaf) == 0 for leaf in keras.tree.flatten(y)) or len(inputs[0]) != len(
            targets[0]
        ):
            raise ValueError(
                f"the dataset yields single examples (x of shape {np.shape(inputs[0])}), not "
                "batches of them: Keras would take the first axis of each for the examples. Put "
                "them into batches: dataset = dataset.batch(32)."
            )
        yield inputs, targets, weight


def _is_indexed(dataset: Any) -> bool:
    return isinstance(dataset, keras.utils.PyDataset) and dataset.num_batches is not None
