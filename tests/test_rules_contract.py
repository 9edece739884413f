"""What holds for every rule, whatever it checks."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.engine import diagnose_record
from lossdoctor.finding import Severity, Stage
from lossdoctor.record.run import (
    DataRecord,
    FitRecord,
    History,
    LossRecord,
    MetricRecord,
    ModelRecord,
    OptimizerRecord,
    OutputRecord,
    RunRecord,
    UnitSeries,
)
from lossdoctor.rules import rule_classes
from lossdoctor.rules._catalogue import HEADINGS, entry
from tests.records import config_record, history, history_record, mlp, run_record, steps, variables

RULES = rule_classes()
# The catalogue's slugs are fixed; a rule may name one that has not been written yet.
CATALOGUE = """
    single_unit_softmax missing_final_activation double_softmax final_activation_range output_units
    loss_label_encoding labels_out_of_range hinge_label_encoding loss_task metric_task target_rank
    saturated_output constant_predictions missing_hidden_activation saturating_hidden_activations
    relu_recurrent poor_initialization excessive_dropout excessive_regularization frozen_model
    small_batch_normalization optimizer_settings mixed_precision_head unstable_learning_rate
    unscaled_inputs unscaled_targets non_finite_data constant_features class_imbalance missing_class
    ordered_data validation_shift validation_overlap label_noise target_outliers input_outliers
    too_few_examples uninformative_inputs non_finite_loss diverging_loss high_learning_rate
    low_learning_rate oscillating_loss loss_plateau undertrained underfitting overfitting
    overconfidence validation_below_training train_inference_gap high_initial_loss negative_loss
    loss_metric_divergence schedule_shock early_stopping_settings vanishing_gradients
    exploding_gradients dead_units saturated_activations stalled_updates exploding_weights
    noisy_gradients
    """
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


@every_rule
def test_is_declared_in_full(rule):
    assert rule.title
    assert not rule.title.endswith(".")
    assert isinstance(rule.severity, Severity)
    assert isinstance(rule.stage, Stage)
    assert isinstance(rule.explains, frozenset)
    assert dataclasses.is_dataclass(rule)
    assert rule.__dataclass_params__.frozen
    assert rule() == rule()


@every_rule
def test_docstring_has_a_sentence_and_the_six_headings(rule):
    described = entry(rule)
    assert described.summary.endswith(".")
    assert len(described.summary) <= 120
    assert tuple(described.sections) == HEADINGS
    for heading, text in described.sections.items():
        assert len(text) > 3, heading


@every_rule
def test_thresholds_say_where_they_come_from(rule):
    for name, declared in rule.thresholds().items():
        assert len(declared.source) > 10, name
        assert declared.fires in ("above", "below"), name
        assert isinstance(declared.unit, str), name
    fields = {field.name for field in dataclasses.fields(rule)}
    assert fields == set(rule.thresholds()), "every field of a rule is a threshold"


@every_rule
def test_check_asks_for_evidence_by_type(rule):
    kinds = rule.evidence()
    assert kinds
    for name, hint in kinds.items():
        wanted = [arg for arg in getattr(hint, "__args__", (hint,)) if arg is not type(None)]
        assert len(wanted) == 1, name
        assert wanted[0].__module__.startswith("lossdoctor.evidence."), name
        assert hasattr(wanted[0], "from_record"), name


@every_rule
def test_explains_only_rules_of_the_catalogue(rule):
    assert rule.explains <= RULES.keys() | set(CATALOGUE.split())
    assert rule.slug() not in rule.explains


def test_causes_run_in_no_circle():
    below = {slug: rule.explains & RULES.keys() for slug, rule in RULES.items()}

    def visit(slug, path):
        assert slug not in path, " -> ".join([*path[path.index(slug) :], slug])
        for effect in sorted(below[slug]):
            visit(effect, [*path, slug])

    for slug in sorted(below):
        visit(slug, [])


@every_rule
def test_file_is_short_and_does_no_arithmetic_on_arrays(rule):
    source = Path(inspect.getfile(rule))
    text = source.read_text(encoding="utf-8")
    assert source.stem == rule.slug()
    assert 45 <= len(text.splitlines()) <= 150
    assert "import numpy" not in text
    assert "keras" not in [line.split()[1] for line in text.splitlines() if line[:7] == "import "]


@every_rule
def test_has_its_test(rule):
    test = Path(__file__).parent / "rules" / f"test_{rule.slug()}.py"
    assert test.exists(), f"{test} is missing"


# Records that hold little, much, or nonsense -----------------------------------------------------


def two_outputs():
    model = mlp()
    second = dataclasses.replace(model.outputs[0], name="b", activation="sigmoid")
    both = dataclasses.replace(model, outputs=(*model.outputs, second), kind="functional")
    record = config_record(model=both, y=np.array([0.0, 1.0] * 40), x=np.ones((80, 20)))
    losses = (*record.losses, LossRecord(name="binary_crossentropy", from_logits=False, weight=0.5))
    targets = (*record.train.targets, *record.train.targets)
    metrics = (MetricRecord(output=1, name="b_accuracy", requested="accuracy"),)
    train = dataclasses.replace(record.train, targets=targets)
    return dataclasses.replace(record, losses=losses, train=train, metrics=metrics)


def unknown_model():
    model = ModelRecord(
        name="mine",
        class_name="Mine",
        kind="subclassed",
        graph_known=False,
        layers=(),
        outputs=(OutputRecord(name="out", shape=(None, None)),),
        custom_train_step=True,
        custom_compute_loss=True,
    )
    loss = LossRecord(name="my_loss", custom=True)
    return RunRecord(
        source="run",
        model=model,
        losses=(loss,),
        optimizer=OptimizerRecord(class_name="Mine"),
        fit=FitRecord(),
        train=DataRecord(),
        validation=DataRecord(),
        history=History(),
    )


def recorded(**fields):
    model = mlp(units=3, activation="softmax", hidden=((8, "relu"), (8, "tanh")))
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(size=(60, 20))
    record = config_record(
        model=model,
        loss="sparse_categorical_crossentropy",
        metrics={"accuracy": "SparseCategoricalAccuracy"},
        x=x,
        y=y,
        validation=(x, y),
        predictions=np.full((60, 3), 1 / 3),
        baseline=1.0986,
    )
    loss = np.linspace(1.0, 0.2, 12)
    return run_record(
        record,
        **{
            "history": history(loss=loss, val_loss=loss, accuracy=1 - loss, val_accuracy=1 - loss),
            "steps": steps(np.repeat(loss, 4), steps_per_epoch=4),
            "variables": variables(model, count=48),
            **fields,
        },
    )


NAN = np.full(30, np.nan)
STRINGS = np.array(["cat", "dog"] * 20)
RECORDS = {
    "empty run": RunRecord(source="run"),
    "empty configuration": RunRecord(source="config"),
    "empty history": RunRecord(source="history"),
    "history without epochs": RunRecord(source="history", history=History()),
    "history of one epoch": history_record(loss=[0.5]),
    "history": history_record(loss=[1.0, 0.8, 0.7, 0.6], val_loss=[1.1, 0.9, 0.8, 0.9]),
    "history of metrics alone": history_record(accuracy=[0.5, 0.6, 0.7], val_accuracy=[0.5] * 3),
    "history of NaN": history_record(loss=NAN, val_loss=NAN, learning_rate=NAN),
    "history of infinities": history_record(loss=[1.0, np.inf, -np.inf, np.nan]),
    "history of zeros": history_record(loss=np.zeros(40), val_loss=np.zeros(40)),
    "history with gaps": history_record(loss=[1.0] * 30, val_loss=[np.nan, 0.9] * 15),
    "history of huge numbers": history_record(loss=np.logspace(0, 300, 30)),
    "model without data": config_record(),
    "model with data": config_record(x=np.ones((30, 20)), y=np.linspace(-1, 1, 30)),
    "no rows": config_record(x=np.ones((0, 20)), y=np.ones(0)),
    "strings": config_record(x=STRINGS.reshape(20, 2), y=STRINGS[:20]),
    "data of NaN": config_record(x=np.full((30, 20), np.nan), y=NAN),
    "constant data": config_record(x=np.zeros((30, 20)), y=np.zeros(30)),
    "images": config_record(x=np.ones((9, 8, 8, 3)), y=np.eye(3)[np.arange(9) % 3]),
    "two outputs": two_outputs(),
    "unknown model": unknown_model(),
    "no losses": dataclasses.replace(config_record(), losses=()),
    "no metrics known": dataclasses.replace(config_record(), metrics=None),
    "no optimizer": dataclasses.replace(config_record(), optimizer=None),
    "bare optimizer": config_record(optimizer=OptimizerRecord(class_name="SGD")),
    "no fit": dataclasses.replace(config_record(), fit=None),
    "bare fit": config_record(fit=FitRecord()),
    "recorded run": recorded(),
    "recorded without history": recorded(history=None),
    "recorded without steps": recorded(steps=None),
    "recorded without variables": recorded(variables=None),
    "recorded without data": recorded(train=None, validation=None),
    "one step": recorded(steps=steps([0.5]), history=history(loss=[0.5])),
    "no steps": recorded(steps=steps([]), variables=None, history=History()),
    "steps of NaN": recorded(steps=steps(NAN), history=history(loss=NAN)),
    "variables of NaN": recorded(
        variables=variables(
            mlp(), count=48, gradient_norm=np.nan, update_norm=np.nan, weight_norm=np.nan
        )
    ),
    "variables of zeros": recorded(
        variables=variables(
            mlp(), count=48, gradient_norm=0.0, update_norm=0.0, weight_norm=0.0, curvature=np.nan
        )
    ),
    "no variables": recorded(variables=variables(mlp(), count=0)),
    "units of no epoch": recorded(
        units=UnitSeries(
            layers=("dense",), units=(8,), epoch=np.empty(0), dead_fraction=np.empty((0, 1))
        )
    ),
    "units": recorded(
        units=UnitSeries(
            layers=("dense",), units=(8,), epoch=np.arange(3), dead_fraction=np.full((3, 1), 0.5)
        )
    ),
}


@pytest.fixture(scope="module")
def diagnoses():
    return {name: diagnose_record(record) for name, record in RECORDS.items()}


@pytest.mark.parametrize("slug", RULES)
def test_never_crashes(slug, diagnoses):
    for name, diagnosis in diagnoses.items():
        outcome = next(outcome for outcome in diagnosis.outcomes if outcome.rule == slug)
        assert outcome.status != "failed", f"{name}: {outcome.reason}"
        if outcome.status == "not_applicable":
            assert outcome.reason, f"{name}: no reason"


def test_findings_are_complete(diagnoses):
    for name, diagnosis in diagnoses.items():
        for finding in diagnosis.findings:
            assert finding.message.endswith((".", "?")), f"{name}: {finding.message}"
            assert "nan" not in finding.message.split(), f"{name}: {finding.message}"
            if finding.severity >= Severity.WARNING:
                assert finding.remedies, f"{name}: {finding.rule} ends in no action"
            for remedy in finding.remedies:
                compile(remedy.code, finding.rule, "exec")


@pytest.mark.parametrize("source", ["run", "config", "history"])
def test_nothing_is_found_where_nothing_was_recorded(source):
    diagnosis = diagnose_record(RunRecord(source=source))
    assert diagnosis.findings == ()
    assert {outcome.status for outcome in diagnosis.outcomes} == {"not_applicable"}
