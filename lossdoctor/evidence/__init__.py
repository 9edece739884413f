"""What can be measured from a record: pure functions of it, one kind of evidence per file.

Every kind is a frozen dataclass with a classmethod `from_record(record)`, which raises
`NotRecorded` when the record lacks what it needs. Rules name the kinds they need; the engine
builds each one once per record.
"""

from lossdoctor.evidence._missing import NotApplicable, NotRecorded

__all__ = ["NotApplicable", "NotRecorded"]
