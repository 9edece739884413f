"""The probability of a finding: where there is one, what it rests on, and how it is fitted."""

import dataclasses
import json
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from lossdoctor.finding import Finding, Measurement, Severity, Stage
from lossdoctor.probability import Calibration, calibrations, traits_of, with_probability
from lossdoctor.ranking import rank
from lossdoctor.report import Report
from lossdoctor.rules import rule_classes
from lossdoctor.rules.low_learning_rate import LowLearningRate
from lossdoctor.rules.undertrained import Undertrained
from lossdoctor.sources.history import read_logs
from lossdoctor.validation.calibration import FEWEST, Claim, fit

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
SHIPPED = json.loads(resources.files("lossdoctor").joinpath("probability.json").read_text("utf-8"))


def finding(rule, severity=WARNING, *measurements):
    return Finding(
        rule=rule,
        title=rule,
        severity=severity,
        stage=Stage.DATA,
        message="",
        measurements=measurements,
    )


def probabilities(*findings, explains=None, source="run", judged=None):
    ranked = rank(findings, explains or {})
    told = with_probability(
        ranked, source, {f.rule for f in findings} if judged is None else judged
    )
    return {f.rule: f.probability for f in told}


def test_log_odds_are_a_sum():
    calibration = Calibration(intercept=1.0, traits={"above": -2.0}, rules={"dead_units": 0.5})
    assert calibration.probability("dead_units", {"above": 0.75}) == pytest.approx(0.5)
    assert calibration.probability("unknown", {"above": 0.0}) is None


def test_a_lone_error_is_most_probably_the_root_cause():
    assert probabilities(finding("unscaled_inputs", ERROR))["unscaled_inputs"] > 0.6


def test_what_is_explained_is_hardly_the_root_cause():
    told = probabilities(
        finding("unscaled_inputs", ERROR),
        finding("loss_plateau", ERROR),
        explains={"unscaled_inputs": {"loss_plateau"}},
    )
    assert told["unscaled_inputs"] > 0.6
    assert told["loss_plateau"] < 0.2


def test_notes_foreign_rules_and_bare_logs_have_no_probability():
    assert probabilities(finding("unscaled_inputs", INFO)) == {"unscaled_inputs": None}
    assert probabilities(finding("my_own_rule")) == {"my_own_rule": None}
    assert probabilities(finding("unscaled_inputs"), source="history") == {"unscaled_inputs": None}
    assert probabilities(finding("unscaled_inputs"), judged=()) == {"unscaled_inputs": None}


def test_traits_count_rival_causes_and_squash_the_margin():
    far = Measurement(name="ratio", value=1000.0, threshold=1.0, fires="above")
    first, second, symptom = traits_of(
        rank(
            [finding("b_first", ERROR, far), finding("c_symptom"), finding("d_second")],
            {"b_first": {"c_symptom"}},
        )
    )
    assert (first["above"], first["below"], first["explains"]) == (0, 1, 1)
    assert first["margin"] == pytest.approx(0.75)
    assert (symptom["explained"], symptom["above"]) == (1, 1)
    assert (second["above"], second["below"], second["error"]) == (1, 0, 0)


def test_another_threshold_than_the_calibrated_one_leaves_no_probability():
    logs = {"loss": list(np.linspace(1.0, 0.4, 20))}
    record = dataclasses.replace(read_logs(logs), source="run")
    told = [f for f in Report.of(record).findings if f.rule == "undertrained"]
    other = Report.of(record, rules=[Undertrained(gain=0.07), LowLearningRate()]).findings
    assert [f.probability is None for f in told] == [False]
    assert [f.probability for f in other if f.rule == "undertrained"] == [None]


def test_the_shipped_coefficients_name_real_rules_and_their_reliability():
    for source, fitted in SHIPPED["sources"].items():
        assert fitted["rules"].keys() <= rule_classes().keys()
        assert fitted["cross_validated"]["expected_calibration_error"] <= 0.05
        assert calibrations()[source].rules == fitted["rules"]
        counted = sum(b["findings"] for b in fitted["cross_validated"]["reliability"])
        assert counted == fitted["findings"]
    assert SHIPPED["command"].startswith("python -m lossdoctor.validation.calibration")


def test_fitting_recovers_how_often_a_rule_is_right():
    random = np.random.default_rng(0)
    share = {"often": 0.9, "seldom": 0.2}

    def claim(rule, case, true):
        traits = {"explained": 0.0}
        return Claim(
            case=case, broken=True, place=0, rule=rule, traits=traits, true=true, first=true
        )

    claims = [
        claim(rule, case, bool(random.random() < right))
        for rule, right in share.items()
        for case in range(400)
    ]
    claims += [claim("once", 0, True)] * (FEWEST - 1)
    fitted = fit(claims)
    calibration = Calibration(
        intercept=fitted["intercept"], traits=fitted["traits"], rules=fitted["rules"]
    )
    for rule, right in share.items():
        assert calibration.probability(rule, {"explained": 0.0}) == pytest.approx(right, abs=0.05)
    assert "once" not in fitted["rules"]
    assert fitted["cross_validated"]["expected_calibration_error"] < 0.05


def test_scikit_learn_is_not_imported():
    code = "import lossdoctor.engine, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
