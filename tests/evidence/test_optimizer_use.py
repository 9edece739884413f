import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence.optimizer_use import OptimizerUse
from lossdoctor.record.run import FitRecord, OptimizerRecord
from tests.records import config_record, mlp, run_record, steps, variables

SGD = OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9)


def use(optimizer, *, gradient=1.0, count=100):
    model = mlp()
    record = run_record(
        config_record(model=model, optimizer=optimizer),
        steps=steps(np.ones(count)),
        variables=variables(model, count=count, gradient_norm=gradient),
    )
    return OptimizerUse.from_record(record)


def test_the_way_counts_what_follows_the_peak():
    values = (0.0, 0.5, 1.0, 0.2, 0.0)
    scheduled = dataclasses.replace(SGD, schedule="S", schedule_values=values)
    assert use(scheduled).way == pytest.approx(0.4)
    assert use(scheduled).rate == 1.0
    assert use(SGD).way is None


def test_clipped_compares_the_norm_that_is_clipped():
    half = np.where(np.arange(100)[:, None] < 50, 10.0, 0.1)
    assert use(dataclasses.replace(SGD, clipnorm=1.0), gradient=half).clipped == 0.5
    # 4 variables of norm 0.6 have a global norm of 1.2
    assert use(dataclasses.replace(SGD, global_clipnorm=1.0), gradient=0.6).clipped == 1.0
    assert use(dataclasses.replace(SGD, clipnorm=1.0), gradient=0.6).clipped == 0.0
    assert use(SGD).clipped is None


def test_reach_is_the_way_of_the_run_over_the_norm_of_the_smallest_kernel():
    found = use(dataclasses.replace(SGD, clipnorm=0.01))
    head = mlp().layers[-1].kernel
    norm = np.sqrt(25) * head.std
    assert found.reach == pytest.approx(0.01 / 0.1 * 100 * 0.01 / norm)
    assert use(SGD).reach is None
    adam = OptimizerRecord(class_name="Adam", learning_rate=0.01, clipnorm=0.01)
    assert use(adam).reach is None


def test_reach_before_training_needs_the_number_of_steps():
    clipped = dataclasses.replace(SGD, clipnorm=0.01)
    record = config_record(optimizer=clipped, fit=FitRecord(), y=np.arange(10.0))
    assert OptimizerUse.from_record(record).reach is None
