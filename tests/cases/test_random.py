"""What holds for all drawn cases, without training any."""

import numpy as np
import pytest

from lossdoctor.cases.faults import before_head
from lossdoctor.cases.faults import head as head_fault
from lossdoctor.cases.random import draw
from lossdoctor.cases.random.draw import Broken
from lossdoctor.cases.random.fault import FAULTS, RandomFault
from lossdoctor.cases.recipe import Recipe, layer
from lossdoctor.cases.score import ACCURACY
from lossdoctor.finding import Stage
from lossdoctor.rules import rule_classes

DRAWN = [draw(3, index) for index in range(60)]
CASES = [case for drawn in DRAWN for case in (drawn.healthy, *(b.case for b in drawn.broken))]


def test_a_case_follows_from_seed_and_number_alone():
    again = draw(3, 17)
    assert [b.case.fault for b in again.broken] == [b.case.fault for b in DRAWN[17].broken]
    assert again.healthy.title == DRAWN[17].healthy.title
    for one, other in zip(again.broken, DRAWN[17].broken):
        np.testing.assert_array_equal(one.case.recipe.data().X, other.case.recipe.data().X)


def test_other_seeds_draw_other_cases():
    assert [draw(4, i).healthy.title for i in range(5)] != [d.healthy.title for d in DRAWN[:5]]


def test_every_kind_of_input_goal_and_stage_is_drawn():
    drawn = [draw(5, index) for index in range(150)]
    ranks = {case.recipe.data().X.ndim for d in drawn for case in (d.healthy,)}
    assert ranks == {2, 3, 4}
    assert {d.healthy.recipe.score.name for d in drawn} == {"R²", "accuracy", "label accuracy"}
    faults = [fault for d in drawn for b in d.broken for fault in b.faults]
    assert {fault.stage for fault in faults} == set(Stage)
    assert len({fault.name for fault in faults}) > 0.9 * len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_best_by_a_real_rule(fault):
    assert fault.truth[0] in rule_classes()


def test_held_out_rows_match_the_training_rows():
    for case in CASES:
        data = case.recipe.data()
        assert len(data.X) == len(data.y) > 0
        assert len(data.X_val) == len(data.y_val) > 0
        assert data.X.shape[1:] == data.X_val.shape[1:]
        assert data.y.shape[1:] == data.y_val.shape[1:]


def test_healthy_data_are_finite_and_a_good_score_is_above_chance():
    for drawn in DRAWN:
        data = drawn.healthy.recipe.data()
        assert np.isfinite(data.X).all()
        assert np.isfinite(data.y).all()
        assert 0 < drawn.healthy.passing < 1


def test_data_of_a_fault_do_not_touch_those_of_the_healthy_case():
    for drawn in DRAWN[:20]:
        before = drawn.healthy.recipe.data().X.copy()
        for broken in drawn.broken:
            broken.case.recipe.data()
        np.testing.assert_array_equal(drawn.healthy.recipe.data().X, before)


def test_two_faults_stand_in_the_order_of_repair_and_are_known_alone():
    pairs = [b for drawn in DRAWN for b in drawn.broken if len(b.faults) == 2]
    assert pairs
    for pair in pairs:
        first, second = pair.faults
        assert first.stage < second.stage
        assert [case.fault for case in pair.alone] == [first.name, second.name]
        assert pair.case.fault == f"{first.name}+{second.name}"


def test_now_and_then_epochs_are_many_and_sequences_end_early():
    drawn = [draw(6, index).healthy.recipe for index in range(300)]
    assert any(recipe.epochs > 300 for recipe in drawn)
    masked = [recipe for recipe in drawn if recipe.layers[0].maker == "layers.Masking"]
    assert masked
    for recipe in masked:
        data = recipe.data()
        for X in (data.X, data.X_val):
            empty = (X == 0).all(axis=2)
            assert empty[:, -1].any()
            assert not empty[:, : X.shape[1] // 2].any(), "the first half is always there"
            assert (np.diff(empty.astype(int), axis=1) >= 0).all(), "and nothing after its end"


def test_the_head_is_the_head_also_below_a_layer_of_its_own():
    recipe = Recipe(
        data=dict,
        score=ACCURACY,
        layers=(layer("Dense", units=8), layer("Dense", units=3), layer("Softmax")),
    )
    below, head, above = after(head_fault(units=2), recipe)
    assert (below.arguments["units"], head.arguments["units"]) == (8, 2)
    assert above.maker == "layers.Softmax"
    makers = [spec.maker for spec in after(before_head(layer("Dropout", rate=0.5)), recipe)]
    assert makers == ["layers.Dense", "layers.Dropout", "layers.Dense", "layers.Softmax"]


def after(change, recipe):
    return change(recipe).layers


def test_every_harmful_fault_is_a_cause():
    broken = Broken(
        case=DRAWN[0].healthy,
        faults=(
            some_fault("raw", Stage.DATA, "unscaled_inputs"),
            some_fault("short", Stage.BUDGET, "undertrained"),
        ),
    )
    assert broken.causes((True, True)) == ("unscaled_inputs", "undertrained")
    assert broken.causes((False, True)) == ("undertrained",)
    assert broken.causes((False, False)) == ("unscaled_inputs", "undertrained")


def some_fault(name, stage, *truth):
    return RandomFault(name=name, stage=stage, truth=truth, inject=lambda setup, random: None)


@pytest.mark.parametrize(
    ("harmful", "truth"),
    [
        ((True, True), ("unscaled_inputs",)),
        ((True, False), ("unscaled_inputs",)),
        ((False, True), ("undertrained", "low_learning_rate")),
        ((False, False), ("unscaled_inputs", "undertrained", "low_learning_rate")),
    ],
)
def test_the_truth_is_the_first_fault_that_does_harm(harmful, truth):
    broken = Broken(
        case=DRAWN[0].healthy,
        faults=(
            some_fault("raw", Stage.DATA, "unscaled_inputs"),
            some_fault("short", Stage.BUDGET, "undertrained", "low_learning_rate"),
        ),
    )
    assert broken.truth(harmful) == truth
