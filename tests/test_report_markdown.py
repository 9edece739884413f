from lossdoctor.report.markdown import render
from tests.reports import CODE, OUTCOMES, caused, finding, outcome, report


def test_a_healthy_run():
    text = render(report())
    assert text.startswith("# LossDoctor report\n\n**Nothing to fix: 2 checks clear")
    assert "## Checked and clear (2)\n\n`dead_units`, `overfitting`" in text
    assert "- targets: pass y: `class_imbalance`, `label_noise`" in text


def test_findings_nest_by_heading_and_show_all_remedies():
    text = render(report(caused()))
    assert "## ❌ ERROR: Cause (`cause`)" in text
    assert "### ⚠️ WARNING: Symptom (`symptom`)" in text
    assert "#### ⚠️ WARNING: Late symptom (`late_symptom`)" in text
    assert f"```python\n{CODE}\n```" in text
    assert "**Or:** Or do less." in text
    assert "| ratio | 0.35 \\> 0.1 | ‖Δw‖/‖w‖ |" in text
    assert "Explained by `cause`." in text


def test_names_are_escaped_and_code_is_not():
    text = render(report((finding("x", layers=("<b>a_b</b>|",), message="Use `a_b` and a_b."),)))
    assert "\\<b\\>a\\_b\\</b\\>\\|" in text
    assert "Use `a_b` and a\\_b." in text


def test_a_failed_rule_is_called_a_bug():
    failed = outcome("dead_units", "failed", "KeyError: 'x'")
    text = render(report(outcomes=(*OUTCOMES, failed)))
    assert "## Failed (a bug in LossDoctor; please report it) (1)" in text
