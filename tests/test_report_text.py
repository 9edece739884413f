import io

import pytest

from lossdoctor.finding import Severity
from lossdoctor.report.text import print_report, render
from tests.reports import CODE, OUTCOMES, caused, finding, outcome, report


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_healthy_run_takes_one_line():
    text = render(report())
    assert text == ("✔ LossDoctor: Nothing to fix: 2 checks clear, 3 not applicable, 1 ignored.\n")


def test_a_note_on_a_healthy_run_is_one_more_compact_line():
    text = render(report((finding("note", Severity.INFO),)))
    assert text.splitlines()[1].startswith("ℹ Note. The `note` number is 0.35")
    assert "Fix" not in text


def test_a_finding_shows_headline_sentence_numbers_and_first_remedy():
    lines = render(report((finding("slow_updates"),))).splitlines()
    assert lines[0] == "LossDoctor: this run is held back (1 warning)."
    assert lines[2].startswith("▲ WARNING  Slow updates")
    assert lines[2].endswith("slow_updates")
    text = "\n".join(lines)
    assert "The `slow_updates` number is 0.35, above 0.1." in text
    assert "since epoch 4, step 87 · layer dense" in text
    assert "ratio     0.35 > 0.1  ‖Δw‖/‖w‖" in text
    assert "Fix: Cure slow_updates." in text
    assert "Or do less." not in text
    assert "1 more remedy known." in text


def test_code_keeps_its_lines_and_its_relative_indentation():
    code = "for layer in model.layers:\n    layer.trainable = " + "x" * 200
    from lossdoctor.finding import Remedy

    text = render(report((finding("long", remedies=(Remedy(text="Do.", code=code),)),)), width=60)
    assert "      for layer in model.layers:\n          layer.trainable = " + "x" * 200 in text


def test_what_a_finding_explains_is_nested_below_it_without_remedies():
    text = render(report(caused()))
    assert text.index("✖ ERROR  Cause") < text.index("└─ ▲ WARNING  Symptom")
    assert "   └─ ▲ WARNING  Late symptom" in text
    assert text.index("Late symptom") < text.index("\n▲ WARNING  Other cause")
    assert "Cure symptom." not in text
    assert "Explains: symptom, late_symptom." in text
    assert text.count("model.summary()") == 2


def test_verbose_shows_every_remedy_and_all_outcomes():
    text = render(report(caused()), verbose=True)
    assert "Or: Or do less." in text
    assert text.count("model.summary()") == 4
    assert "Fix: Cure symptom." in text
    assert "Clear (2): dead_units, overfitting" in render(report(), verbose=True)


def test_outcomes_are_grouped_by_reason():
    text = render(report((finding("slow"),)))
    assert "Clear (2): dead_units, overfitting" in text
    assert "Ignored (1): metric_task" in text
    assert "Not checked (3):\n  - targets: pass y (class_imbalance, label_noise)\n" in text


def test_a_long_list_of_rules_is_cut_unless_verbose():
    missing = tuple(outcome(f"rule_{i}", "not_applicable", "no model") for i in range(9))
    made = report((finding("slow"),), missing)
    assert "(rule_0, rule_1, rule_2, rule_3, rule_4 and 4 more)" in " ".join(render(made).split())
    assert "rule_8)" in render(made, verbose=True)


def test_a_failed_rule_is_shown_even_on_a_healthy_run():
    failed = outcome("dead_units", "failed", "ZeroDivisionError: division by zero")
    text = render(report(outcomes=(*OUTCOMES, failed)))
    assert "1 failed" in text.splitlines()[0]
    assert "ZeroDivisionError: division by zero (dead_units)" in text
    assert "please report it" in text


@pytest.mark.parametrize("width", [40, 80, 100])
def test_prose_keeps_to_the_width(width):
    long = finding("slow", message="word " * 60 + "end.", remedies=())
    cause = finding("cause", explains=("slow",), remedies=(), message="word " * 60)
    child = finding("slow", explained_by="cause", message="word " * 60, remedies=())
    for findings in ((long,), (cause, child)):
        assert max(map(len, render(report(findings), width=width).splitlines())) <= width


def test_a_terminal_gets_color_and_a_pipe_does_not(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal, pipe = Terminal(), io.StringIO()
    print_report(report(caused()), file=terminal)
    print_report(report(caused()), file=pipe)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in pipe.getvalue()
    assert pipe.getvalue().strip() == str(report(caused()))


def test_printing_survives_an_output_that_knows_only_ascii():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_report(report(caused()), file=file)
    assert b"ERROR  Cause" in raw.getvalue()


def test_str_is_the_plain_text():
    made = report((finding("slow"),))
    assert str(made) + "\n" == render(made)
    assert CODE.splitlines()[0] in str(made)


def test_rich_markup_in_names_is_text():
    text = render(report((finding("slow", layers=("[bold]x[/bold]",)),)))
    assert "layer [bold]x[/bold]" in text
