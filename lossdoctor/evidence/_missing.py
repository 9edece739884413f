"""Why evidence can be absent."""

from __future__ import annotations

from lossdoctor.record.run import RunRecord


class NotApplicable(Exception):
    """The question does not arise for this run; the text says why."""


class NotRecorded(NotApplicable):
    """The record lacks what is needed; the text says what, and how to get it."""

    @classmethod
    def of(cls, record: RunRecord, what: str, how: str) -> NotRecorded:
        """The reason the recorder gave for missing `what`, or else `how` to record it."""
        if record.source == "run" and how.endswith("with LossDoctor()"):
            how = "not in this run's record"
        return cls(f"{what}: {record.not_recorded.get(what, how)}")
