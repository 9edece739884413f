import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord
from tests.records import config_record, findings_of, outcome_of

SLUG = "python_lists"


def given(*names, **fit):
    base = config_record(x=np.ones((40, 20)), y=np.arange(40.0))
    train = dataclasses.replace(base.train, lists=names)
    return dataclasses.replace(base, train=train, fit=FitRecord(**fit))


@pytest.mark.parametrize(
    ("names", "message", "code"),
    [
        (("x",), "x is a Python list", "X = np.asarray(X)"),
        (("x", "y"), "x and y are Python lists", "X = np.asarray(X)\ny = np.asarray(y)"),
    ],
)
def test_lists_are_made_arrays(names, message, code):
    (finding,) = findings_of(SLUG, given(*names, has_validation=False))
    assert finding.severity is Severity.ERROR
    assert finding.message.startswith(message)
    assert finding.remedies[0].code == code


def test_validation_data_too():
    (finding,) = findings_of(SLUG, given("y", has_validation=True))
    assert finding.remedies[0].code == "y = np.asarray(y)\ny_val = np.asarray(y_val)"


def test_silent_on_arrays_and_not_applicable_to_a_run():
    assert not findings_of(SLUG, given())
    run = dataclasses.replace(given("x"), source="run")
    assert outcome_of(SLUG, run).status == "not_applicable"
