"""Why is my loss increasing, and what do I change first?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.callback import LossDoctor
    from lossdoctor.check import check_config
    from lossdoctor.finding import Finding, Severity
    from lossdoctor.record.run import RunRecord
    from lossdoctor.report import Report
    from lossdoctor.rules import Rule, default_rules
    from lossdoctor.sources import diagnose

__version__ = "0.1.0"

__all__ = [
    "Finding",
    "LossDoctor",
    "Report",
    "Rule",
    "RunRecord",
    "Severity",
    "__version__",
    "check_config",
    "default_rules",
    "diagnose",
]

# Resolved on first use: TensorFlow takes seconds to import, and most names do not need it.
_HOMES = {
    "Finding": "lossdoctor.finding",
    "LossDoctor": "lossdoctor.callback",
    "Report": "lossdoctor.report",
    "Rule": "lossdoctor.rules",
    "RunRecord": "lossdoctor.record.run",
    "Severity": "lossdoctor.finding",
    "check_config": "lossdoctor.check",
    "default_rules": "lossdoctor.rules",
    "diagnose": "lossdoctor.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lossdoctor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
