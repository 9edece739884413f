import dataclasses

import numpy as np
import pytest

from tests.records import chain, dense, findings_of, layer, outcome_of, trained, weighted

SLUG = "narrow_layer"
FLAT = np.full(30, 0.6)
NARROW = chain(dense("a", 16, 20), dense("b", 1, 16, activation="relu"), dense("head", 3, 1))
WIDE = chain(dense("a", 16, 20), dense("head", 3, 16))


def run(model=NARROW, error_rate=0.5, **probes):
    record = trained(FLAT, model=model, error_rate=error_rate)
    return dataclasses.replace(record, probes=probes)


def test_a_unit_that_nothing_passes_through():
    (finding,) = findings_of(SLUG, run(signal=0.9))
    assert finding.layers == ("b",)
    assert "'b' leaves one number of each example" in finding.message
    assert "learned 0% of what can be learned, of which 90% is in reach" in finding.message
    assert '"b": {"units": 32}' in finding.remedies[0].code


def test_silent_on_wider_layers_on_linear_tasks_and_on_little_signal():
    assert findings_of(SLUG, run(WIDE, signal=0.9)) == ()
    assert findings_of(SLUG, run(signal=0.9, error_rate=0.05)) == ()
    assert findings_of(SLUG, run(signal=0.2)) == ()


@pytest.mark.parametrize(("signal", "fires"), [(0.44, False), (0.46, True)])
def test_boundary_of_the_shortfall(signal, fires):
    assert bool(findings_of(SLUG, run(signal=signal, error_rate=0.4))) is fires


def pooled(pool, **config):
    """A picture of one channel that `pool` leaves one number of."""
    small = dataclasses.replace(
        layer("pool", pool, **config), input_shape=(None, 8, 8, 1), output_shape=(None, 1, 1, 1)
    )
    return chain(small, dense("a", 16, 1), dense("head", 3, 16))


def test_a_pool_over_a_whole_picture_of_one_channel():
    (finding,) = findings_of(SLUG, run(pooled("AveragePooling2D", pool_size=(8, 8)), signal=0.9))
    assert "'pool' leaves one number of each example" in finding.message
    assert '"pool": {"pool_size": 2, "strides": 2}' in finding.remedies[0].code
    (finding,) = findings_of(SLUG, run(pooled("GlobalMaxPooling2D"), signal=0.9))
    assert "32 channels or more" in finding.remedies[0].text


def test_a_single_filter_at_a_single_position_gets_more_filters():
    filters = weighted(layer("conv", "Conv2D", activation="relu", filters=1), 8, 8, 1, 1)
    filters = dataclasses.replace(filters, output_shape=(None, 1, 1, 1))
    model = chain(filters, dense("a", 16, 1), dense("head", 3, 16))
    (finding,) = findings_of(SLUG, run(model, signal=0.9))
    assert finding.layers == ("conv",)
    assert '"conv": {"filters": 32}' in finding.remedies[0].code
    assert "('conv' to 32 filters, 'a' to 64 units)" in finding.remedies[0].text


def test_flattening_a_single_number_is_not_what_took_the_others():
    assert findings_of(SLUG, run(pooled("Flatten"), signal=0.9)) == ()


def test_a_way_around_it_leaves_nothing_to_say():
    layers = [dense("a", 16, 20), dense("gate", 1, 16), dense("b", 8, 16, inbound=(1,))]
    record = run(chain(*layers, dense("head", 3, 8)), signal=0.9)
    assert findings_of(SLUG, record) == ()


def test_cannot_tell_without_knowing_what_there_is_to_learn():
    assert "not known" in outcome_of(SLUG, run()).reason
