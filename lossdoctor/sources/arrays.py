"""Training data from files, for `lossdoctor check`: arrays and tables, never pickled objects."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.sources._error import SourceError

_NAMES = {
    "x": ("x", "X", "x_train", "X_train", "features", "inputs"),
    "y": ("y", "Y", "y_train", "Y_train", "labels", "targets", "target"),
    "x_val": ("x_val", "X_val", "x_valid", "X_valid", "x_validation", "X_validation"),
    "y_val": ("y_val", "Y_val", "y_valid", "Y_valid", "y_validation", "Y_validation"),
}


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Inputs and targets as a file holds them; `validation` is the pair or None."""

    x: Any
    y: Any
    validation: tuple[Any, Any] | None = None


def read_arrays(path: Path, target: str | None = None) -> Arrays:
    """The training data in an `.npz`, `.csv` or `.parquet` file.

    Args:
        path: The file.
        target: The column of a table that holds the targets.

    Raises:
        SourceError: If the file holds no such data; the text says what to do.
        OSError: If it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".csv":
        return _split(_csv_columns(path), target, path)
    if suffix == ".parquet":
        return _split(_parquet_columns(path), target, path)
    raise SourceError(
        f"{path} is none of the data files lossdoctor reads: .npz with arrays x and y, .csv or "
        ".parquet with --target COLUMN. Write one with numpy.savez('data.npz', x=X, y=y)."
    )


def _read_npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {
                role: next((archive[name] for name in names if name in archive), None)
                for role, names in _NAMES.items()
            }
            present = list(archive)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{path} cannot be read without running code from it or is damaged ({error}). Save "
            "plain numeric arrays with numpy.savez('data.npz', x=X, y=y)."
        ) from error
    if found["y"] is None:
        raise SourceError(
            f"{path} holds the arrays {', '.join(present) or '(none)'}, and none is named as the "
            "targets. Save it with numpy.savez('data.npz', x=X, y=y, x_val=X_val, y_val=y_val); "
            "x and the validation arrays may be left out."
        )
    pair = (found["x_val"], found["y_val"])
    complete = pair[0] is not None and pair[1] is not None
    return Arrays(x=found["x"], y=found["y"], validation=pair if complete else None)


def _split(columns: dict[str, NDArray[Any]], target: str | None, path: Path) -> Arrays:
    names = ", ".join(columns)
    if target is None:
        raise SourceError(
            f"Say which column of {path} holds the targets: --target COLUMN. Its columns: {names}."
        )
    if target not in columns:
        raise SourceError(f"{path} has no column {target!r}. Its columns: {names}.")
    features = {name: values for name, values in columns.items() if name != target}
    text = [name for name, values in features.items() if values.dtype.kind not in "biuf"]
    if text:
        raise SourceError(
            f"{path}: the columns {', '.join(text)} are not numeric, so no model can be trained on "
            "them as they are. Encode them as your program does and save the arrays the model "
            "gets, with numpy.savez('data.npz', x=X, y=y)."
        )
    return Arrays(x=_table(features) if features else None, y=columns[target])


def _table(features: dict[str, NDArray[Any]]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        return np.column_stack(list(features.values()))
    # A DataFrame lets findings name the columns.
    return pd.DataFrame(features)


def _csv_columns(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is not a CSV text file ({error}).") from error
    if len(rows) < 2:
        raise SourceError(f"{path} needs a line of column names and at least one line of values.")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise SourceError(
                f"{path}: line {number} has {len(row)} values where the header has {width}. "
                "Repair the file or save the arrays with numpy.savez('data.npz', x=X, y=y)."
            )
    return {name: _column(cells) for name, *cells in zip(*rows)}


def _column(cells: list[str]) -> NDArray[Any]:
    for convert in (int, float):
        try:
            return np.array([convert(cell) for cell in cells])
        except (ValueError, OverflowError):
            continue
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        return np.array(cells)


def _parquet_columns(path: Path) -> dict[str, NDArray[Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise SourceError(
            "Reading .parquet needs pyarrow: pip install pyarrow. Or save the arrays with "
            "numpy.savez('data.npz', x=X, y=y)."
        ) from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise SourceError(f"{path} is not a Parquet file ({error}).") from error
    return {
        name: column.to_numpy(zero_copy_only=False)
        for name, column in zip(table.column_names, table.columns)
    }
