import io
import json

from lossdoctor.finding import Severity
from lossdoctor.report.html import MOST_REPORTS
from lossdoctor.report.triage import Run, print_table, render, summary, triage
from tests.reports import caused, finding, outcome, report

RUNS = triage(
    [
        Run(name="runs/good", report=report()),
        Run(name="runs/odd", error="runs/odd is no training history. " + "x " * 200),
        Run(name="runs/slow", report=report((finding("slow"),))),
        Run(name="runs/bad", report=report((finding("broken", Severity.ERROR),))),
        Run(name="runs/worse", report=report(caused())),
        Run(name="runs/blank", report=report(outcomes=(outcome("a", "not_applicable"),))),
    ]
)


def test_the_most_troubled_run_stands_first():
    assert [run.name.removeprefix("runs/") for run in RUNS] == [
        "worse",
        "bad",
        "slow",
        "odd",
        "blank",
        "good",
    ]
    assert summary(RUNS) == "6 runs: 2 error, 1 warning, 1 unreadable, 1 unknown, 1 ok"


def test_the_table_names_run_verdict_cause_and_onset():
    lines = render(RUNS, "text").splitlines()
    assert lines[0].split() == ["run", "verdict", "first", "cause", "since"]
    assert lines[1].split() == ["runs/worse", "error", "Cause", "epoch", "4,", "step", "87"]
    assert lines[-1] == summary(RUNS)


def test_brackets_in_a_name_are_text():
    file = io.StringIO()
    print_table((Run(name="[red]x[/red]", report=report()),), file=file)
    assert "[red]x[/red]" in file.getvalue()


def test_markdown():
    assert "| runs/slow | warning | Slow | epoch 4, step 87 |" in render(RUNS, "markdown")


def test_json_holds_every_report():
    document = json.loads(render(RUNS, "json"))
    assert (document["format"], document["version"]) == ("lossdoctor-triage", 1)
    assert [run["verdict"] for run in document["runs"]][:2] == ["error", "error"]
    assert document["runs"][0]["report"]["findings"][0]["rule"] == "cause"
    assert document["runs"][3]["report"] is None


def test_github():
    text = render(RUNS, "github")
    assert "::warning title=runs/slow%3A Slow::" in text
    assert "::error title=runs/odd::runs/odd is no training history." in text


def test_html_links_each_troubled_run_to_its_report():
    text = render((*RUNS, Run(name="<script>alert(1)</script>", report=report())), "html")
    assert "<td>Slow</td>" in text
    assert "<script>alert" not in text
    for number, name in enumerate(("worse", "bad", "slow")):
        assert f'<a href="#run-{number}"><code>runs/{name}</code></a>' in text
        assert f'id="run-{number}"><summary><code>runs/{name}</code></summary>' in text
    assert text.count("Everything checked</h3>") == 3
    assert "shows the report of one" not in text


def test_html_holds_the_most_troubled_reports_and_says_so():
    many = [Run(name=str(i), report=report((finding("slow"),))) for i in range(MOST_REPORTS + 2)]
    text = render(triage(many), "html")
    assert text.count('class="ld-run"') == MOST_REPORTS
    assert "2 more with findings" in text
