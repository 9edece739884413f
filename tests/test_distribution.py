"""Under `MirroredStrategy` the record is that of the global batch, and training is unchanged."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.distributed_run import FAMILIES

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def runs():
    command = [sys.executable, "-m", "tests.distributed_run"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_training_on_two_replicas_is_the_same_with_the_doctor(runs, family):
    assert runs[family]["observed"] == runs[family]["plain"]
    assert not runs[family]["not recorded"]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_replicas_record_what_one_device_records(runs, family):
    one, two = runs[family]["one device"], runs[family]["two replicas"]
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=2e-3, atol=1e-5, err_msg=name)


def test_a_batch_of_which_one_replica_sees_the_bad_half_is_named(runs):
    # Keras logs the loss of the first replica: the host hears of it a step late, the ring does not.
    assert (runs["origin"]["step"], runs["origin"]["source"]) == (1, "inputs")
