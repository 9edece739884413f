import dataclasses

import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord, RunRecord
from lossdoctor.report import Report
from tests.reports import caused, finding, outcome, report


def test_ok_is_true_without_warnings_and_errors():
    assert report().ok
    assert report((finding("note", Severity.INFO),)).ok
    assert not report((finding("slow"),)).ok
    assert not report((finding("broken", Severity.ERROR),)).ok


def test_errors_are_the_findings_of_that_severity():
    slow, broken = finding("slow"), finding("broken", Severity.ERROR)
    assert report((slow, broken)).errors == (broken,)
    assert report((slow,)).errors == ()


def test_of_runs_the_rules_and_leaves_ignored_ones_out():
    made = Report.of(RunRecord(source="history"), ignore=["single_unit_softmax"])
    statuses = {o.rule: o.status for o in made.outcomes}
    assert statuses["single_unit_softmax"] == "ignored"
    assert made.record.source == "history"


def test_of_names_an_unknown_rule_in_ignore():
    with pytest.raises(ValueError, match="names no rule: 'nonsense'"):
        Report.of(RunRecord(source="history"), ignore=["nonsense"])


def test_is_frozen():
    with pytest.raises(AttributeError):
        report().findings = ()


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ((finding("broken", Severity.ERROR),), "This run cannot be right as it stands"),
        ((finding("slow"),), "This run is held back; fix this first: Slow."),
        ((), "Nothing to fix: 2 checks clear, 3 not applicable, 1 ignored."),
    ],
)
def test_verdict_is_one_sentence(findings, verdict):
    assert report(findings).verdict.startswith(verdict)


def test_verdict_names_an_error_that_a_warning_explains_by_its_cause():
    cause = finding("cause", explains=("effect",))
    made = report((cause, finding("effect", Severity.ERROR, explained_by="cause")))
    assert made.verdict == "This run cannot be right as it stands; fix this first: Cause."


def test_nothing_checked_is_not_called_healthy():
    made = report(outcomes=(outcome("overfitting", "not_applicable", "no losses"),))
    assert made.ok
    assert made.verdict == "Cannot tell: none of the 1 checks could be made."


def test_repr_is_short():
    assert repr(report(caused())) == (
        "<Report: This run cannot be right as it stands; fix this first: Cause.>"
    )


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.html", "<!doctype html>"),
        ("r.json", "{"),
        ("r.md", "# LossDoctor"),
        ("r.TXT", "LossDoctor:"),
    ],
)
def test_save_writes_the_format_of_the_suffix(tmp_path, name, start):
    path = tmp_path / name
    report(caused()).save(path)
    assert path.read_text(encoding="utf-8").startswith(start)


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_save_refuses_other_suffixes(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.html, \.json, \.md, \.txt") as raised:
        report().save(tmp_path / name)
    assert name in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_fit_that_raised_for_no_known_reason_is_not_called_healthy():
    record = RunRecord(source="run", fit=FitRecord(stopped="exception: ValueError: odd"))
    made = dataclasses.replace(report(), record=record)
    assert made.verdict.startswith("Cannot tell why fit raised: 2 checks clear (exception: Value")
    assert str(made).startswith("? LossDoctor: Cannot tell")


def test_a_run_of_which_hardly_anything_could_be_checked_is_not_called_healthy():
    outcomes = [
        outcome("overfitting", "clear"),
        *(outcome("x", "not_applicable") for _ in range(3)),
    ]
    made = dataclasses.replace(report(outcomes=tuple(outcomes)), record=RunRecord(source="run"))
    assert made.verdict == "Nothing found, but only 1 of 4 checks could be made."
