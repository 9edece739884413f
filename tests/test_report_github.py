from lossdoctor.finding import Severity
from lossdoctor.report.github import render
from tests.reports import caused, finding, report


def test_one_annotation_per_finding():
    lines = render(report(caused())).splitlines()
    assert len(lines) == 5
    assert lines[0] == (
        "::error title=Cause::The `cause` number is 0.35, above 0.1. Fix: Cure cause."
    )
    assert lines[1].endswith("Explained by cause.")
    assert lines[4].startswith("::notice title=Note::")


def test_a_healthy_run_is_a_notice():
    assert render(report()).startswith("::notice title=LossDoctor::Nothing to fix")


def test_nothing_can_break_out_of_the_command():
    made = finding("x", Severity.ERROR, title="a:b,c", message="100 %\n::error::boo", remedies=())
    assert render(report((made,))).splitlines() == [
        "::error title=a%3Ab%2Cc::100 %25%0A::error::boo"
    ]
