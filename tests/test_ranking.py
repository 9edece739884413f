import dataclasses
import itertools

from lossdoctor.finding import Finding, Measurement, Onset, Severity, Stage
from lossdoctor.ranking import rank


def finding(rule, severity=Severity.WARNING, stage=Stage.DATA, onset=None, value=None):
    measurements = ()
    if value is not None:
        measurements = (Measurement(name="m", value=value, threshold=1.0, fires="above"),)
    return Finding(
        rule=rule,
        title=rule,
        severity=severity,
        stage=stage,
        message=f"{rule} is wrong",
        measurements=measurements,
        onset=None if onset is None else Onset(epoch=onset),
    )


def order(findings, explains=None):
    return [f.rule for f in rank(findings, explains or {})]


def test_the_cause_stands_above_a_graver_symptom_and_names_it():
    found = rank(
        [finding("symptom", Severity.ERROR), finding("cause")], {"cause": frozenset({"symptom"})}
    )
    assert [f.rule for f in found] == ["cause", "symptom"]
    assert found[0].explains == ("symptom",)
    assert found[1].explained_by == "cause"


def test_a_worth_knowing_finding_explains_nothing():
    found = rank(
        [finding("symptom"), finding("note", Severity.INFO)], {"note": frozenset({"symptom"})}
    )
    assert [f.rule for f in found] == ["symptom", "note"]
    assert found[0].explained_by is None


def test_the_gravest_finding_of_a_rule_stands_first():
    note = dataclasses.replace(finding("data", Severity.INFO), message="a note")
    assert [f.severity for f in rank([note, finding("data", Severity.ERROR)], {})] == [
        Severity.ERROR,
        Severity.INFO,
    ]


def test_severity_then_stage_then_onset_then_margin_then_slug():
    assert order([finding("w"), finding("e", Severity.ERROR)]) == ["e", "w"]
    assert order([finding("late", stage=Stage.BUDGET), finding("data")]) == ["data", "late"]
    assert order([finding("b", onset=5), finding("a", onset=2)]) == ["a", "b"]
    assert order([finding("b", onset=1), finding("configured")]) == ["configured", "b"]
    assert order([finding("a", value=2.0), finding("b", value=100.0)]) == ["b", "a"]
    assert order([finding("b"), finding("a")]) == ["a", "b"]


def test_a_broken_contract_outranks_a_data_warning_that_explains_an_error():
    found = order(
        [
            finding("unscaled", Severity.WARNING, Stage.DATA),
            finding("blown_up", Severity.ERROR, Stage.STEP_SIZE, onset=0),
            finding("wrong_head", Severity.ERROR, Stage.CONTRACT),
        ],
        {"unscaled": frozenset({"blown_up"})},
    )
    assert found == ["wrong_head", "unscaled", "blown_up"]


def test_the_order_does_not_depend_on_the_order_of_the_findings():
    findings = [
        finding("a", Severity.ERROR, onset=3),
        finding("b", Severity.ERROR, onset=3),
        finding("c", stage=Stage.CONTRACT),
        finding("d", value=5.0),
    ]
    explains = {"c": frozenset({"a", "d"}), "a": frozenset({"b"})}
    orders = {tuple(order(list(p), explains)) for p in itertools.permutations(findings)}
    assert len(orders) == 1


def test_nothing_is_dropped_when_several_causes_share_a_symptom():
    found = rank(
        [finding("a"), finding("b"), finding("shared")],
        {"a": frozenset({"shared"}), "b": frozenset({"shared"})},
    )
    assert [f.rule for f in found] == ["a", "b", "shared"]
    assert found[1].explains == ("shared",)


def test_below_a_cause_a_chain_stands_in_the_order_of_causation():
    chain = {
        "cause": frozenset({"step", "effect", "last"}),
        "step": frozenset({"effect", "last"}),
        "effect": frozenset({"last"}),
    }
    findings = [
        finding("last", Severity.ERROR),
        finding("effect", Severity.ERROR),
        finding("step", Severity.ERROR, onset=3),
        finding("cause"),
    ]
    assert order(findings, chain) == ["cause", "step", "effect", "last"]
