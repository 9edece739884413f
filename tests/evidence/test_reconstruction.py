import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.reconstruction import Reconstruction
from tests.records import config_record

RANDOM = np.random.default_rng(0)


def of(x, y):
    return Reconstruction.from_record(config_record(x=x, y=y))


@pytest.mark.parametrize("shape", [(20,), (8, 8, 1), (8, 8, 3)])
def test_targets_that_are_the_inputs(shape):
    x = RANDOM.random((100, *shape))
    of(x, x)
    with pytest.raises(NotApplicable, match="none of the inputs"):
        of(x, x + 1)


def test_noise_is_left_out_of_several_columns_only():
    x = RANDOM.random((100, 20))
    of(x + RANDOM.normal(0, 0.1, x.shape), x)
    series = RANDOM.normal(size=(130, 1)).cumsum(axis=0)
    windows = np.stack([series[i : i + 20] for i in range(101)])
    with pytest.raises(NotApplicable):
        of(windows[:-1], windows[1:])


def test_a_single_number_is_no_reconstruction():
    x = RANDOM.random((100, 1))
    with pytest.raises(NotApplicable):
        of(x, x)
