"""What the user reads: the report, and one renderer per file, each a pure function of it."""

from lossdoctor.report.report import Report

__all__ = ["Report"]
