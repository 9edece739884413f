import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, TargetPairing
from tests.records import config_record, findings_of, history_record, mlp, outcome_of, trained

SLUG = "negative_loss"


def with_loss(name, values=(0.5, -3.0), **fields):
    record = trained(list(values))
    return dataclasses.replace(record, losses=(LossRecord(name=name, baseline=1.0, **fields),))


def on_labels(y):
    record = with_loss("binary_crossentropy")
    return dataclasses.replace(record, train=config_record(y=y).train)


def test_fires_on_a_cross_entropy_below_zero():
    (finding,) = findings_of(SLUG, on_labels(np.tile([-1, 1], 50)))
    assert finding.severity is Severity.ERROR
    assert "fell to -3" in finding.message
    assert "asarray(y) > 0" in finding.remedies[0].code


@pytest.mark.parametrize("y", [np.arange(150) % 3, np.linspace(-4, 4, 100)])
def test_labels_that_are_no_signs_are_not_cut_at_zero(y):
    (finding,) = findings_of(SLUG, on_labels(y))
    assert "> 0" not in finding.remedies[0].code


def test_history_only_asks():
    (finding,) = findings_of(SLUG, history_record(loss=[0.5, -1.0]))
    assert finding.severity is Severity.INFO
    assert "right for a likelihood" in finding.message


@pytest.mark.parametrize("values", [(0.5, 0.0), (0.5, -1e-9)])
def test_silent_at_zero(values):
    assert not findings_of(SLUG, with_loss("mean_squared_error", values))


def test_abstains_on_losses_that_may_be_negative():
    for record in (
        with_loss("cosine_similarity"),
        with_loss("poisson"),
        with_loss("my_loss", custom=True),
    ):
        assert outcome_of(SLUG, record).status == "not_applicable"
    record = with_loss("mean_squared_error")
    model = dataclasses.replace(record.model, added_losses=1)
    assert outcome_of(SLUG, dataclasses.replace(record, model=model)).status == "not_applicable"


def test_silent_on_a_loss_that_was_never_finite():
    assert not findings_of(SLUG, with_loss("mean_squared_error", (np.nan, np.nan)))


def own_loss(baseline, floor=0.0, r2=None):
    base = with_loss("my_loss", custom=True, floor=floor)
    losses = (dataclasses.replace(base.losses[0], baseline=baseline),)
    pairing = () if r2 is None else (TargetPairing(output=0, rows=100, r2=r2),)
    train = dataclasses.replace(config_record(y=np.arange(100.0)).train, pairing=pairing)
    return dataclasses.replace(base, losses=losses, train=train)


@pytest.mark.parametrize("r2", [None, -5.0])
def test_a_loss_of_ones_own_that_any_constant_beats(r2):
    (finding,) = findings_of(SLUG, own_loss(-1e10, r2=r2))
    assert finding.severity is Severity.ERROR
    assert "not for being right" in finding.message
    before = dataclasses.replace(own_loss(-1e10), source="config", history=None, steps=None)
    assert len(findings_of(SLUG, before)) == 1


@pytest.mark.parametrize(("last", "expected"), [(-3.0, 1), (-0.3, 0)])
def test_a_bottomless_loss_of_quantiles_is_known_by_its_fall(last, expected):
    """Predictions equal to the targets cannot be tried where the head answers several numbers."""
    record = own_loss(-1e10, floor=None)
    history = dataclasses.replace(record.history, logs={"loss": np.array([-0.2, last])})
    assert len(findings_of(SLUG, dataclasses.replace(record, history=history))) == expected


def test_a_loss_of_ones_own_that_falls_as_the_answers_get_worse():
    (finding,) = findings_of(SLUG, own_loss(-10.0, r2=-3.0))
    assert finding.severity is Severity.ERROR
    assert "fell to -3 while the answers became no better than a constant one" in finding.message
    # What a contrastive loss calls near is no prediction of its target; it never falls below zero.
    contrastive = own_loss(0.2, floor=1.0, r2=-3.0)
    logs = {"loss": np.array([0.5, 0.1])}
    history = dataclasses.replace(contrastive.history, logs=logs)
    assert not findings_of(SLUG, dataclasses.replace(contrastive, history=history))
    assert not findings_of(SLUG, own_loss(-10.0, r2=0.3))


@pytest.mark.parametrize(
    ("error_rate", "activation", "expected"),
    [(0.5, "sigmoid", 1), (0.05, "sigmoid", 0), (0.95, "sigmoid", 0), (0.5, "linear", 0)],
)
def test_a_score_that_is_minimized_by_answers_all_alike(error_rate, activation, expected):
    score = own_loss(0.0, floor=1.0)
    model = mlp(activation=activation)
    pairing = (TargetPairing(output=0, rows=100, error_rate=error_rate, chance_error_rate=0.5),)
    logs = dataclasses.replace(score.history, logs={"loss": np.array([0.5, 0.01])})
    train = dataclasses.replace(score.train, pairing=pairing)
    run = dataclasses.replace(score, model=model, history=logs, train=train)
    assert len(findings_of(SLUG, run)) == expected


def test_constants_a_head_may_never_answer_say_nothing():
    record = own_loss(-1e10, r2=-5.0)
    outputs = tuple(dataclasses.replace(o, activation=None) for o in record.model.outputs)
    model = dataclasses.replace(record.model, outputs=outputs)
    assert not findings_of(SLUG, dataclasses.replace(record, model=model))


@pytest.mark.parametrize("record", [own_loss(-0.9, floor=-1.0), own_loss(-1e10, r2=0.8)])
def test_silent_on_dice_and_on_a_loss_that_taught_something(record):
    assert outcome_of(SLUG, record).status == "not_applicable"
