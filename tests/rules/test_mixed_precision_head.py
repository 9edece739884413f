import dataclasses

import numpy as np

from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of, run_record, steps

SLUG = "mixed_precision_head"
SCALED = OptimizerRecord(class_name="Adam", learning_rate=1e-3, loss_scaling=True)


def half(dtype):
    model = mlp(activation="sigmoid")
    (output,) = model.outputs
    return dataclasses.replace(model, outputs=(dataclasses.replace(output, dtype=dtype),))


def run(skipped):
    series = steps(np.ones(len(skipped)), skipped=np.asarray(skipped, dtype=bool))
    return run_record(config_record(optimizer=SCALED), steps=series)


def test_a_float16_head():
    (finding,) = findings_of(SLUG, config_record(model=half("float16")))
    assert "float16" in finding.message
    assert '"dense_1": {"dtype": "float32"}' in finding.remedies[0].code


def test_not_applicable_to_other_precisions():
    for dtype in ("float32", "bfloat16"):
        assert outcome_of(SLUG, config_record(model=half(dtype))).status == "not_applicable"
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_steps_skipped_after_the_search():
    (finding,) = findings_of(SLUG, run(np.arange(400) % 5 == 0))
    assert "skipped 20% of the steps" in finding.message
    assert "global_clipnorm=1.0" in finding.remedies[0].code


def test_the_search_for_a_scale_is_not_counted():
    assert findings_of(SLUG, run(np.arange(400) < 100)) == ()
    assert findings_of(SLUG, run(np.arange(400) % 10 == 0)) == ()
    assert findings_of(SLUG, run(np.arange(120) % 2 == 0)) == ()
