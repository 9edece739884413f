"""Records on disk: one JSON object with a format version and a checksum, replaced atomically."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lossdoctor.record.run import FORMAT_VERSION, RunRecord

FORMAT = "lossdoctor-record"


class RecordError(ValueError):
    """A file that is not a readable LossDoctor record."""


@functools.cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def dumps(record: RunRecord) -> str:
    """Return `record` as the text `save` writes."""
    body = _adapter().dump_json(record).decode()
    digest = hashlib.sha256(body.encode()).hexdigest()
    header = f'"format": "{FORMAT}", "version": {FORMAT_VERSION}, "sha256": "{digest}"'
    return f'{{{header}, "record": {body}}}\n'


def loads(text: str, *, name: str = "the text") -> RunRecord:
    """Read what `dumps` wrote; `name` stands for the source in error messages."""
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
    if hashlib.sha256(body.encode()).hexdigest() != document.get("sha256"):
        raise RecordError(
            f"{name} is damaged: its contents do not match their checksum. Restore it from a "
            "backup or record the run again."
        )
    try:
        return _adapter().validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"{name} is damaged: field {where or 'record'}: {first['msg']}. Record the run again."
        ) from error


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
