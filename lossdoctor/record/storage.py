"""Records on disk: one JSON object with a format version and a checksum, replaced atomically.

While a run lasts, lines with the epochs that ended since may follow it, each with a checksum that
continues the one before (see `lossdoctor.record.journal`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lossdoctor.record.epochs import EpochLog, extended
from lossdoctor.record.run import FORMAT_VERSION, FitRecord, History, RunRecord

FORMAT = "lossdoctor-record"


class RecordError(ValueError):
    """A file that is not a readable LossDoctor record."""


@functools.cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


@functools.cache
def _epoch_adapter() -> TypeAdapter[EpochLog]:
    return TypeAdapter(EpochLog)


def _digest(body: str, before: str = "") -> str:
    return hashlib.sha256((before + body).encode()).hexdigest()


def dumps(record: RunRecord) -> str:
    """Return `record` as the text `save` writes."""
    return document(record)[0]


def document(record: RunRecord) -> tuple[str, str]:
    """The text of `record` and the digest that lines after it continue."""
    body = _adapter().dump_json(record).decode()
    digest = _digest(body)
    header = f'"format": "{FORMAT}", "version": {FORMAT_VERSION}, "sha256": "{digest}"'
    return f'{{{header}, "record": {body}}}\n', digest


def epoch_line(epoch: EpochLog, before: str) -> tuple[str, str]:
    """The line of one more epoch after what has the digest `before`, and its own digest."""
    body = json.dumps(dataclasses.asdict(epoch))
    digest = _digest(body, before)
    return f"{digest} {body}\n", digest


def is_record(text: str) -> bool:
    """Whether `text` begins as a record does."""
    return text.startswith(f'{{"format": "{FORMAT}"')


def loads(text: str, *, name: str = "the text") -> RunRecord:
    """Read what `dumps` wrote; `name` stands for the source in error messages."""
    if not text:
        raise RecordError(f"{name} is empty: the run had not finished its first epoch.")
    first, _, lines = text.partition("\n")
    record, digest = _read_document(first if is_record(text) else text, name)
    epochs = _read_epochs(lines, digest, name)
    return _continued(record, epochs) if epochs else record


def _read_document(text: str, name: str) -> tuple[RunRecord, str]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise RecordError(
            f"{name} is not a LossDoctor record, or it is damaged: it does not parse as JSON "
            f"({error}). Records are written by doctor.record.save(path)."
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RecordError(
            f"{name} is not a LossDoctor record (it lacks the mark '{FORMAT}'). Records are "
            "written by doctor.record.save(path); for a CSVLogger file or a dict of losses use "
            "lossdoctor.diagnose()."
        )
    version = document.get("version")
    if version != FORMAT_VERSION:
        raise RecordError(
            f"{name} has record format {version!r}; this LossDoctor reads format {FORMAT_VERSION}. "
            "Read it with the LossDoctor that wrote it, or record the run again."
        )
    body = text.partition('"record": ')[2].rpartition("}")[0]
    digest = _digest(body)
    if digest != document.get("sha256"):
        raise RecordError(
            f"{name} is damaged: its contents do not match their checksum. Restore it from a "
            "backup or record the run again."
        )
    try:
        return _adapter().validate_json(body), digest
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"{name} is damaged: field {where or 'record'}: {first['msg']}. Record the run again."
        ) from error


def _read_epochs(lines: str, digest: str, name: str) -> list[EpochLog]:
    """The epochs in `lines`. A killed process can leave the last one torn: it is left out."""
    epochs = []
    *complete, _torn = lines.split("\n")
    for number, line in enumerate(complete, start=2):
        expected, _, body = line.partition(" ")
        digest = _digest(body, digest)
        if digest != expected:
            raise RecordError(
                f"{name} is damaged: line {number} does not match its checksum. Restore it from "
                "a backup or record the run again."
            )
        epochs.append(_epoch_adapter().validate_json(body))
    return epochs


def _continued(record: RunRecord, epochs: Sequence[EpochLog]) -> RunRecord:
    history = extended(record.history or History(), epochs)
    fit = record.fit or FitRecord()
    return dataclasses.replace(
        record,
        history=history,
        fit=dataclasses.replace(fit, completed_epochs=fit.completed_epochs + len(epochs)),
    )


def save(record: RunRecord, path: str | os.PathLike[str]) -> None:
    """See `RunRecord.save`."""
    write_atomically(path, dumps(record))


def load(path: str | os.PathLike[str]) -> RunRecord:
    """See `RunRecord.load`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{os.fspath(path)} is not a LossDoctor record: it is not a text file."
        ) from error
    return loads(text, name=os.fspath(path))


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` so that a reader sees the old file or the new one, never half of it."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
