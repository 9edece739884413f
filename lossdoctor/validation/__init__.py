"""`lossdoctor validate`: train cases whose truth is known, and compare what the doctor says.

`validate` takes the fixed cases, `validate_random` draws random ones.
"""

from lossdoctor.validation.drawn import validate_random
from lossdoctor.validation.fixed import Row, ValidationResult, validate
from lossdoctor.validation.tally import Judged, RandomResult
from lossdoctor.validation.training import Examination

__all__ = [
    "Examination",
    "Judged",
    "RandomResult",
    "Row",
    "ValidationResult",
    "validate",
    "validate_random",
]
