"""Records from TensorBoard event files, read without TensorFlow.

An event file is a sequence of framed protocol buffers (`tensorflow/core/util/event.proto`); the
few fields that hold a scalar are picked out of the wire format here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lossdoctor.record.run import RunRecord
from lossdoctor.sources._error import SourceError
from lossdoctor.sources.history import read_rows

_SIDES = {
    "": "",
    "train": "",
    "training": "",
    "val": "val_",
    "valid": "val_",
    "validation": "val_",
}
_Fields = Iterator[tuple[int, int | bytes]]
_Rows = dict[int, dict[str, float]]


def is_event_file(path: Path) -> bool:
    """Whether `path` starts as TensorBoard's writers start a file."""
    with path.open("rb") as file:
        return b"brain.Event:" in file.read(64)


def event_files(folder: Path) -> dict[str, list[Path]]:
    """The event files of one run by the prefix of their logs: "" for training, "val_"."""
    found: dict[str, list[Path]] = {}
    for name, prefix in _SIDES.items():
        files = sorted((folder / name).glob("*tfevents*"))
        if files:
            found.setdefault(prefix, []).extend(files)
    return found


def read_files(files: Mapping[str, Sequence[Path]], *, name: str) -> RunRecord:
    """The record of the scalars in event files."""
    merged: _Rows = {}
    earlier = 0
    for prefix, paths in files.items():
        rows, before = _last_run([_scalars(path, prefix) for path in paths])
        earlier = max(earlier, before)
        for step, logs in rows.items():
            merged.setdefault(step, {}).update(logs)
    if not merged:
        raise SourceError(
            f"{name} holds TensorBoard events without scalars. Log them with "
            "keras.callbacks.TensorBoard(log_dir) in model.fit()."
        )
    reason = f"{name} holds {earlier + 1} runs one after another; the last one was read"
    return read_rows(
        (merged[step] for step in sorted(merged)),
        not_recorded={"earlier runs": reason} if earlier else {},
    )


def _last_run(files: Sequence[_Rows]) -> tuple[_Rows, int]:
    """Join the files of a run that was continued; start anew where the steps do."""
    joined: _Rows = {}
    earlier = 0
    for rows in files:
        if joined and rows and min(rows) <= max(joined):
            joined = {}
            earlier += 1
        joined |= rows
    return joined, earlier


def _per_epoch(rows: _Rows) -> _Rows:
    """Keras writes per-epoch logs as `epoch_*`; the other tags then count batches."""
    kept = {
        step: {
            name.replace("epoch_", "", 1): value
            for name, value in logs.items()
            if re.match("(val_)?epoch_", name)
        }
        for step, logs in rows.items()
    }
    kept = {step: logs for step, logs in kept.items() if logs}
    return kept or rows


def _scalars(path: Path, prefix: str) -> _Rows:
    rows: _Rows = {}
    for event in _events(path.read_bytes()):
        step, summary = 0, b""
        for field, value in _fields(event):
            if field == 2 and isinstance(value, int):
                step = value
            elif field == 5 and isinstance(value, bytes):
                summary = value
        for field, value in _fields(summary):
            if field == 1 and isinstance(value, bytes):
                tag, scalar = _value(value)
                if scalar is not None:
                    rows.setdefault(step, {})[_log_name(tag, prefix)] = scalar
    return _per_epoch(rows)


def _log_name(tag: str, prefix: str) -> str:
    # Other frameworks write both sides into one file, as "loss/train" or "val/loss".
    parts = tag.split("/")
    for position, part in enumerate(parts):
        side = _SIDES.get(part.lower())
        if side is not None and len(parts) > 1:
            return side + "/".join(parts[:position] + parts[position + 1 :]).lower()
    return prefix + tag


def _events(data: bytes) -> Iterator[bytes]:
    """The events of a file; one cut short by a killed run ends it."""
    position = 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        start = position + 12
        if start + length + 4 > len(data):
            return
        yield data[start : start + length]
        position = start + length + 4


def _value(message: bytes) -> tuple[str, float | None]:
    """Tag and number of one `Summary.Value`; None if it is not a scalar."""
    tag, scalar = "", None
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif field == 2 and isinstance(value, bytes):
            scalar = float(struct.unpack("<f", value)[0])
        elif field == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(message: bytes) -> float | None:
    """The number of a `TensorProto` that holds a single float or double."""
    for field, value in _fields(message):
        if field == 2 and value:
            return None
        if field in {4, 5, 6} and isinstance(value, bytes) and len(value) in {4, 8}:
            return float(struct.unpack("<f" if len(value) == 4 else "<d", value)[0])
    return None


def _fields(message: bytes) -> _Fields:
    """The fields of a message: varints as int, everything else as bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        if kind == 2:
            size, position = _varint(message, position)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            return
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return result, position
