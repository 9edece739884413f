import json
import math
from importlib import resources

import numpy as np

import lossdoctor
from lossdoctor.finding import Measurement
from lossdoctor.report import triage
from lossdoctor.report.triage import Run
from tests.reports import CODE, caused, finding, full_record, report


def schema():
    folder = resources.files("lossdoctor.report")
    return json.loads(folder.joinpath("schema.json").read_text(encoding="utf-8"))


def conforms(value, rule, root):
    """Check `value` against the part of JSON Schema that schema.json uses."""
    if "$ref" in rule:
        named = rule["$ref"].removeprefix("#/$defs/")
        return conforms(value, root if named == "#" else root["$defs"][named], root)
    if "anyOf" in rule:
        return any(conforms(value, option, root) for option in rule["anyOf"])
    if "const" in rule:
        return value == rule["const"]
    if "enum" in rule:
        return value in rule["enum"]
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    names = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    if not any(isinstance(value, kinds[name]) for name in names):
        return False
    if isinstance(value, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        return set(rule.get("required", ())) <= value.keys() and all(
            conforms(item, known.get(key, others), root)
            for key, item in value.items()
            if key in known or others
        )
    if isinstance(value, list):
        return all(conforms(item, rule["items"], root) for item in value)
    return True


def test_the_dict_follows_the_published_schema():
    rules = schema()
    for made in (report(), report(caused()), report(caused(), record=full_record())):
        assert conforms(json.loads(made.render("json")), rules, rules)
        assert json.loads(made.render("json")) == made.to_dict()


def test_many_reports_follow_it_too():
    rules = schema()
    runs = (Run(name="a", report=report(caused())), Run(name="b", error="not readable"))
    assert conforms(json.loads(triage.render(runs, "json")), rules["$defs"]["triage"], rules)
    broken = {"format": "lossdoctor-triage", "version": 1, "runs": [{"run": "a"}]}
    assert not conforms(broken, rules["$defs"]["triage"], rules)


def test_the_schema_covers_every_field():
    rules = schema()
    document = report(caused(), record=full_record()).to_dict()
    assert document.keys() == rules["properties"].keys()
    assert document["findings"][0].keys() == rules["$defs"]["finding"]["properties"].keys()
    assert document["run"].keys() == rules["properties"]["run"]["properties"].keys()


def test_content():
    document = report(caused()).to_dict()
    assert (document["format"], document["version"]) == ("lossdoctor-report", 1)
    assert document["lossdoctor"] == lossdoctor.__version__
    assert document["ok"] is False
    first = document["findings"][0]
    assert first["severity"] == "error"
    assert first["onset"] == {"epoch": 3, "step": 87}
    assert first["remedies"][0] == {"text": "Cure cause.", "code": CODE}
    assert first["explains"] == ["symptom", "late_symptom"]
    assert document["outcomes"][0] == {
        "rule": "cause",
        "title": "cause",
        "status": "found",
        "reason": "",
    }


def test_numbers_json_lacks_stand_as_text():
    measured = tuple(
        Measurement(name="x", value=value) for value in (math.nan, math.inf, -math.inf)
    )
    document = json.loads(report((finding("x", measurements=measured),)).render("json"))
    values = [m["value"] for m in document["findings"][0]["measurements"]]
    assert values == ["NaN", "Infinity", "-Infinity"]


def test_the_last_logs_are_there_and_plain():
    record = full_record()
    record.history.logs["loss"][-1] = np.nan
    run = json.loads(report(record=record).render("json"))["run"]
    assert run["epochs"] == 20
    assert run["final_logs"]["loss"] == "NaN"
