import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lossdoctor.engine import diagnose_record, resolve_rules
from lossdoctor.evidence.output_head import OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Severity, Stage
from lossdoctor.record.run import RunRecord
from lossdoctor.rules import Rule, default_rules, rule_classes, threshold
from tests.records import config_record, mlp, trained, unit_series


@dataclass(frozen=True, kw_only=True)
class Raises(Rule):
    title = "Raises"
    severity = Severity.ERROR
    stage = Stage.DATA

    def check(self, setup: Setup):
        raise ZeroDivisionError("a bug")
        yield


@dataclass(frozen=True, kw_only=True)
class Tolerant(Rule):
    title = "Tolerant"
    severity = Severity.INFO
    stage = Stage.DATA
    limit: float = threshold(1.0, fires="above", unit="", source="test")

    def check(self, outputs: OutputHeads | None):
        if outputs is None:
            yield self.finding("no outputs", remedies=[], measurements=[self.measure("limit", 2)])


def test_a_rule_that_raises_becomes_its_own_outcome_and_the_others_run():
    diagnosis = diagnose_record(config_record(y=[0.0, 1.0]), rules=[Raises(), Tolerant()])
    assert [o.status for o in diagnosis.outcomes] == ["failed", "clear"]
    assert diagnosis.outcomes[0].reason == "ZeroDivisionError: a bug"


def test_missing_evidence_is_a_reason_or_none_as_the_rule_asks():
    diagnosis = diagnose_record(RunRecord(source="history"), rules=[Raises(), Tolerant()])
    assert [o.status for o in diagnosis.outcomes] == ["not_applicable", "found"]
    assert "LossDoctor()" in diagnosis.outcomes[0].reason


def test_ignored_rules_are_listed_as_ignored():
    diagnosis = diagnose_record(config_record(), ignore=["single_unit_softmax"])
    (outcome,) = (o for o in diagnosis.outcomes if o.rule == "single_unit_softmax")
    assert outcome.status == "ignored"


def test_the_last_instance_of_a_rule_counts():
    rules, _ = resolve_rules([Tolerant(limit=5.0), Raises(), Tolerant(limit=7.0)])
    assert [r.limit for r in rules if isinstance(r, Tolerant)] == [7.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ignore": ["no_such_rule"]}, "no_such_rule"),
        ({"rules": ["unscaled_inputs"]}, "rule instances"),
        ({"rules": [Tolerant]}, "rule instances"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        resolve_rules(**arguments)


def test_every_rule_is_found_by_its_file():
    assert {rule.slug() for rule in default_rules()} == set(rule_classes())
    assert len(rule_classes()) >= 28


def test_the_longest_record_of_a_deep_model_takes_150_ms():
    epochs, depth = 1000, 50
    loss = np.geomspace(1, 0.05, epochs)
    model = mlp(hidden=((64, "relu"),) * depth)
    record = trained(loss, model=model, steps_per_epoch=4, val_loss=2 * loss, accuracy=1 - loss)
    dead = unit_series({f"dense_{number}": 0.1 for number in range(1, depth)}, epochs=epochs)
    record = replace(record, units=dead)
    diagnose_record(record)

    def seconds():
        # Time of this process, so that what else runs on the machine counts little.
        began = time.process_time()
        diagnose_record(record)
        return time.process_time() - began

    assert min(seconds() for _ in range(5)) < 0.15
