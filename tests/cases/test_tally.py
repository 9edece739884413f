"""How the diagnosis of drawn cases is scored, from examinations written by hand."""

import io

import pytest
from rich.console import Console

from lossdoctor.finding import Finding, Severity, Stage
from lossdoctor.validation import Examination, Judged, RandomResult, validate_random

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def said(*found):
    return tuple(
        Finding(rule=rule, title=rule, severity=severity, stage=Stage.DATA, message="", **more)
        for rule, severity, *probability in found
        for more in [{"probability": p} for p in probability] or [{}]
    )


def run(*found, before=(), **more):
    return Examination(
        case="random-1-0", seed=0, findings=said(*found), findings_before=said(*before), **more
    )


def judged(truth, *found, healthy=(), **more):
    return Judged(
        index=0,
        title="iris",
        healthy=run(*healthy),
        broken=run(*found, **more),
        truth=tuple(truth.split()),
    )


RIGHT = judged("unscaled_inputs", ("unscaled_inputs", ERROR), ("loss_plateau", ERROR))
OTHER_NAME = judged("too_few_examples overfitting", ("overfitting", WARNING))
THIRD = judged(
    "undertrained", ("dead_units", ERROR), ("loss_plateau", ERROR), ("undertrained", WARNING)
)
MISSED = judged("undertrained", healthy=[("dead_units", WARNING)])
UNTRAINED = Judged(index=1, title="xor")
UNBROKEN = Judged(index=2, title="xor", healthy=run(("dead_units", INFO)))
RESULT = RandomResult(judged=(RIGHT, OTHER_NAME, THIRD, MISSED, UNTRAINED, UNBROKEN))


def test_the_summary_counts_first_places_first_three_and_flagged_healthy_runs():
    assert RESULT.summary() == (
        "root cause first 2/4 (50.0%) · among the first three 3/4 (75.0%) · "
        "by check_config alone 0/4 (0.0%) · healthy runs flagged 1/5 (20.0%)"
    )
    assert not RESULT.ok
    assert RandomResult(judged=(RIGHT, UNTRAINED)).ok


def test_check_config_alone_must_have_it_first():
    early = judged("frozen_model", ("frozen_model", ERROR), before=(("frozen_model", ERROR),))
    late = judged("frozen_model", before=(("dead_units", ERROR), ("frozen_model", ERROR)))
    assert early.right_before
    assert not late.right_before


def test_information_ahead_of_the_cause_is_no_accusation():
    assert judged("frozen_model", ("metric_task", INFO), ("frozen_model", ERROR)).right


def test_information_alone_finds_nothing():
    assert judged("undertrained", ("undertrained", INFO)).first == "(nothing)"


def test_reliability_counts_every_cause_and_holds_healthy_runs_against_it():
    second = Judged(
        index=0,
        title="iris",
        healthy=run(("overfitting", WARNING, 0.35)),
        broken=run(("frozen_model", ERROR, 0.95), ("dead_units", WARNING, 0.31), ("x", INFO)),
        truth=("frozen_model",),
        causes=("frozen_model", "dead_units"),
    )
    reliability = RandomResult(judged=(second,)).reliability("run")
    low, high = reliability.bins
    assert (low.findings, low.said, low.true) == (2, pytest.approx(0.33), 0.5)
    assert (high.findings, high.true) == (1, 1.0)
    assert reliability.error == pytest.approx((2 * 0.17 + 0.05) / 3)
    assert not len(RandomResult(judged=(second,)).reliability("config"))


def test_recall_and_precision_of_each_rule():
    tallies = {tally.slug: tally for tally in RESULT.rules()}
    assert tallies["unscaled_inputs"].recall == tallies["unscaled_inputs"].precision == 1
    # Another name of the same cause counts for the cause, and for the rule that gave it.
    assert tallies["too_few_examples"].recall == 1
    assert tallies["too_few_examples"].precision is None
    assert tallies["overfitting"].precision == 1
    assert tallies["overfitting"].recall is None
    assert tallies["undertrained"].recall == 0
    assert tallies["dead_units"].precision == 0
    assert tallies["dead_units"].healthy == 1


def test_confusions_name_true_cause_and_first_finding():
    assert RESULT.confusions() == {
        ("undertrained", "dead_units"): 1,
        ("undertrained", "(nothing)"): 1,
    }


def test_the_tables_name_what_went_wrong():
    console = Console(file=io.StringIO(), width=160)
    RESULT.print_tables(console)
    text = console.file.getvalue()
    assert "dead_units, not undertrained (place 3)" in text
    assert "healthy, but dead_units" in text
    assert "6 set-ups drawn, 5 train well, 4 of these broken" in text


def test_a_rule_that_failed_is_shown():
    console = Console(file=io.StringIO(), width=160)
    failed = judged("undertrained", ("undertrained", WARNING), failed_rules=("dead_units: E",))
    RandomResult(judged=(failed,)).print_tables(console)
    assert "rule failed: dead_units: E" in console.file.getvalue()


@pytest.mark.parametrize(
    ("numbers", "more", "message"),
    [
        ([], {}, "at least one case"),
        ([-1], {}, "negative"),
        ([0], {"seed": -1}, "negative"),
        ([0], {"jobs": 0}, "`jobs` must be at least 1"),
    ],
)
def test_senseless_arguments_are_refused(numbers, more, message):
    with pytest.raises(ValueError, match=message):
        validate_random(numbers, **more)
