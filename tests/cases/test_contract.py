"""What holds for all cases, without training any."""

import subprocess
import sys
from pathlib import Path

import pytest

from lossdoctor.cases import cases, get_case
from lossdoctor.rules import rule_classes

TUTORIALS = {
    "regression-mse",
    "regression-msle",
    "regression-mae",
    "circles-bce",
    "circles-hinge",
    "circles-squared-hinge",
    "blobs-categorical",
    "blobs-sparse",
    "blobs-kl",
}
BROKEN = [case for case in cases() if case.broken]
HEALTHY = [case for case in cases() if not case.broken]


def test_names_are_unique():
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))


def test_there_are_nine_tutorials_and_at_least_forty_broken_twins():
    assert {case.name for case in HEALTHY} >= TUTORIALS
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_twin_names_its_fault_its_twin_and_real_rules(case):
    assert case.fault
    assert case.name.startswith(f"{case.healthy}/")
    assert not get_case(case.healthy).broken
    assert case.must_not_find <= rule_classes().keys()
    assert case.must_find not in case.must_not_find


def test_every_rule_has_a_case_that_it_must_find():
    found = {slug for case in cases() for slug in (*case.right_answers, *case.symptoms)}
    # `fit` refuses lists before any callback sees them, so there is no run to examine.
    assert found == rule_classes().keys() - {"python_lists"}


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_healthy_case_must_find_nothing_and_states_its_score(case):
    assert case.must_find is None
    assert not case.fault
    assert case.passing is not None


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_twin_differs_from_its_healthy_case(case):
    assert case.recipe != get_case(case.healthy).recipe
    assert case.recipe.score is get_case(case.healthy).recipe.score


def test_an_unknown_name_is_answered_with_the_closest_ones():
    with pytest.raises(ValueError, match="'circles-hinge/labels-0-1'"):
        get_case("circle-hinge/labels-01")
    with pytest.raises(ValueError, match="demo --list"):
        get_case("zzz")


def test_listing_cases_does_not_import_keras():
    code = (
        "import sys; from lossdoctor.cases import cases; cases(); assert 'keras' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
