"""How `validate` judges, from examinations written by hand."""

import io

import pytest
from rich.console import Console

from lossdoctor.cases import get_case
from lossdoctor.finding import Finding, Severity, Stage
from lossdoctor.validation import Examination, Row, ValidationResult, validate

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
BROKEN = get_case("circles-bce/softmax-head")
HEALTHY = get_case("circles-bce")
CLAIM = BROKEN.proof.claim


def said(found):
    return tuple(
        Finding(rule=rule, title=rule, severity=severity, stage=Stage.DATA, message="")
        for rule, severity in found
    )


def examination(case, found, *, before=None, score=0.5, **more):
    return Examination(
        case=case.name,
        seed=1,
        findings=said(found),
        findings_before=said(found if before is None else before),
        measures={CLAIM: score},
        **more,
    )


def row(found, *, twin_score=0.85, **more):
    return Row(
        case=BROKEN,
        examinations=(examination(BROKEN, found, **more),),
        twins=(examination(HEALTHY, [], score=twin_score),),
    )


SYMPTOMS = [(slug, WARNING) for slug in BROKEN.symptoms]
RIGHT = [("single_unit_softmax", ERROR), *SYMPTOMS, ("loss_plateau", WARNING)]


def test_the_root_cause_first_and_real_harm_pass():
    assert row(RIGHT).ok
    assert row(RIGHT).ranks == (1,)


@pytest.mark.parametrize(
    ("found", "more", "problem"),
    [
        ([], {}, "single_unit_softmax not found, but nothing"),
        (RIGHT[::-1], {}, "loss_plateau ranks before single_unit_softmax"),
        (RIGHT, {"before": []}, "check_config says nothing"),
        (RIGHT[:1], {}, f"{BROKEN.symptoms[0]} not named"),
        ([*RIGHT, ("unscaled_inputs", WARNING)], {}, "false alarm: unscaled_inputs"),
        (RIGHT, {"score": 0.8}, "no harm: 0.8 against the twin's 0.85"),
        (RIGHT, {"remedied": 0.55}, "first remedy leads to 0.55, the twin to 0.85"),
        (RIGHT, {"failed_rules": ("dead_units: KeyError: 0",)}, "rule failed: dead_units: KeyEr"),
        (RIGHT, {"trouble": {"record": "RuntimeError: none"}}, "record: RuntimeError: none"),
    ],
)
def test_what_fails_a_broken_twin(found, more, problem):
    assert any(text.startswith(problem) for text in row(found, **more).problems)


def test_information_beside_the_root_cause_and_a_fit_that_raises_are_no_problems():
    assert row([*RIGHT, ("unscaled_inputs", INFO)]).ok
    assert row(RIGHT, trouble={"fit": "ValueError: shapes"}).ok
    assert row(RIGHT, remedied=0.84).ok


@pytest.mark.parametrize(
    ("found", "score", "problem"),
    [
        ([("dead_units", WARNING)], 0.85, "false alarm: dead_units"),
        ([], 0.6, "score 0.6 below 0.8"),
    ],
)
def test_what_fails_a_healthy_case(found, score, problem):
    healthy = Row(case=HEALTHY, examinations=(examination(HEALTHY, found, score=score),))
    assert healthy.problems == (problem,)


def test_a_healthy_case_may_get_information():
    assert Row(case=HEALTHY, examinations=(examination(HEALTHY, [("x", INFO)], score=0.85),)).ok


def test_the_table_shows_every_case_and_the_summary():
    result = ValidationResult(rows=(row(RIGHT), row([])))
    assert not result.ok
    text = io.StringIO()
    result.print_table(Console(file=text, width=200))
    assert "circles-bce/softmax-head" in text.getvalue()
    assert "2 cases, 1 failed" in text.getvalue()
    assert "root cause first 1/2 (50.0%)" in text.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["circles-bcd"]}, "circles-bce"),
        ({"seeds": ()}, "`seeds`"),
        ({"jobs": 0}, "`jobs`"),
    ],
)
def test_senseless_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        validate(**arguments)
