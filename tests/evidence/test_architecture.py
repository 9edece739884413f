import dataclasses

import pytest

from lossdoctor.evidence import NotApplicable
from lossdoctor.evidence.architecture import Architecture
from tests.records import chain, config_record, dense, layer, mlp, weighted


def architecture(*layers, **options):
    return Architecture.from_record(config_record(model=chain(*layers, **options)))


def pairs(*layers, **options):
    return [(p.first.name, p.second.name) for p in architecture(*layers, **options).linear_pairs]


def convolution(name, *shape, activation="linear", **config):
    made = layer(name, "Conv2D", activation=activation, filters=shape[-1], **config)
    return weighted(made, *shape)


HEAD = dense("head", 1, 50)


def test_a_pair_is_found_through_linear_operations_only():
    between = [layer(name, name) for name in ("Dropout", "Flatten", "BatchNormalization")]
    assert pairs(dense("a", 50, 20), *between, HEAD) == [("a", "head")]
    for stops in ("ReLU", "MaxPooling2D", "LayerNormalization", "Lambda", "Multiply"):
        assert pairs(dense("a", 50, 20), layer("b", stops), HEAD) == []
    assert pairs(dense("a", 50, 20), layer("b", "Activation", activation="tanh"), HEAD) == []


def test_activation_or_custom_call_makes_no_pair():
    assert pairs(dense("a", 50, 20, activation="relu"), HEAD) == []
    custom = dataclasses.replace(dense("a", 50, 20), custom=True)
    assert pairs(custom, HEAD) == []


def test_frozen_projections_and_projections_into_recurrence_are_meant():
    assert pairs(dense("a", 50, 20, trainable=False), HEAD) == []
    lstm = weighted(layer("lstm", "LSTM", activation="tanh"), 50, 200)
    assert pairs(dense("a", 50, 20), lstm, HEAD) == []


def test_a_bottleneck_is_meant_where_the_rest_is_not_linear():
    layers = dense("a", 64, 20, activation="relu"), dense("code", 2, 64), dense("c", 64, 2)
    assert pairs(*layers) == []
    assert pairs(dense("wide", 64, 20), dense("code", 2, 64), dense("c", 64, 2)) != []


def test_a_linear_autoencoder_gives_back_its_input():
    code, decoder = dense("code", 5, 20), dense("decoder", 20, 5)
    assert pairs(code, decoder, inputs=20) == []
    assert pairs(code, dense("head", 10, 5), inputs=20) == [("code", "head")]


def test_halves_of_a_separable_convolution_and_up_convolutions_are_meant():
    after = convolution("b", 3, 3, 8, 16, activation="relu", groups=8)
    assert pairs(convolution("a", 1, 1, 8, 8), after, HEAD) == []
    up = weighted(layer("up", "Conv2DTranspose", activation="linear"), 2, 2, 8, 16)
    assert pairs(up, convolution("b", 3, 3, 8, 16, activation="relu"), HEAD) == []


def test_a_sum_with_a_non_linear_branch_stops_the_search():
    branch = dataclasses.replace(dense("b", 20, 20, activation="relu"), inbound=(0,))
    added = dataclasses.replace(layer("add", "Add"), inbound=(1, 2))
    head = dataclasses.replace(dense("head", 1, 20), inbound=(3,))
    assert pairs(dense("a", 20, 20), branch, added, head) == []
    linear = dataclasses.replace(dense("b", 20, 20), inbound=(0,))
    assert pairs(dense("a", 20, 20), linear, added, head) == [("a", "head"), ("b", "head")]


def test_linear_throughout_looks_at_everything_before_the_heads():
    assert architecture(dense("a", 50, 20), HEAD).is_linear_throughout
    assert not architecture(dense("a", 50, 20, activation="relu"), HEAD).is_linear_throughout


def test_met_first_skips_what_only_reshapes_or_drops():
    found = architecture(layer("f", "Flatten"), layer("d", "Dropout"), dense("a", 9, 20), HEAD)
    assert [found.layers[i].name for i in found.met_first(0)] == ["a"]


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ([layer("bn", "BatchNormalization")], True),
        ([layer("relu", "ReLU"), layer("bn", "BatchNormalization")], True),
        ([dense("b", 50, 50, activation="relu"), layer("bn", "BatchNormalization")], True),
        ([layer("t", "Activation", activation="tanh"), layer("bn", "BatchNormalization")], False),
        ([], False),
    ],
)
def test_a_normalization_behind_divides_the_scale_out(between, expected):
    found = architecture(dense("a", 50, 20), *between, HEAD)
    assert found.normalized_behind(1) is expected


def test_saturating_runs_are_counted_between_normalizations():
    def run(*layers):
        return [[item.name for item in found] for found in architecture(*layers).saturating_runs]

    sigmoids = [dense(f"s{i}", 9, 9, activation="sigmoid") for i in range(4)]
    normalization = layer("bn", "BatchNormalization")
    assert run(*sigmoids, HEAD) == [["s0", "s1", "s2", "s3"]]
    assert run(*sigmoids[:2], normalization, *sigmoids[2:], HEAD) == [["s0", "s1"], ["s2", "s3"]]
    lstm = weighted(layer("lstm", "LSTM", activation="tanh"), 9, 36)
    assert run(lstm, HEAD) == []
    relu = dense("r", 9, 9, activation="relu")
    assert run(sigmoids[0], relu, sigmoids[1], HEAD) == [["s0"], ["s1"]]


def test_a_subclassed_model_has_no_known_graph():
    model = dataclasses.replace(mlp(), graph_known=False)
    with pytest.raises(NotApplicable, match="subclassed"):
        Architecture.from_record(config_record(model=model))


def test_a_stem_that_feeds_a_shortcut_and_a_non_linear_branch_is_no_pair():
    stem = convolution("stem", 3, 3, 3, 8)
    branch = layer("branch", "ReLU")
    shortcut = dataclasses.replace(convolution("shortcut", 1, 1, 8, 8), inbound=(1,))
    add = dataclasses.replace(layer("add", "Add"), inbound=(2, 3))
    assert pairs(stem, branch, shortcut, add, layer("out", "ReLU"), HEAD) == []


def test_only_maxima_keep_a_model_without_activation_from_being_linear():
    one, two = convolution("one", 3, 3, 3, 8), convolution("two", 3, 3, 8, 8)
    pool, flat = layer("pool", "MaxPooling2D"), layer("flat", "Flatten")
    found = architecture(one, pool, two, layer("again", "MaxPooling2D"), flat, HEAD)
    assert [found.name for found in found.only_maxima] == ["one", "two"]
    assert architecture(one, flat, HEAD).only_maxima == ()
    relu = convolution("two", 3, 3, 8, 8, activation="relu")
    assert architecture(one, pool, relu, flat, HEAD).only_maxima == ()
