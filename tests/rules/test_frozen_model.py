import dataclasses

from lossdoctor.finding import Severity
from lossdoctor.record.run import OptimizerRecord, RunRecord
from tests.records import chain, config_record, dense, findings_of, learned, mlp, outcome_of

SLUG = "frozen_model"
Y = [0, 1] * 20


def frozen(name, units, inputs, **options):
    made = dense(name, units, inputs, trainable=False, activation="relu", **options)
    weights = tuple(dataclasses.replace(w, trainable=False) for w in made.weights)
    return dataclasses.replace(made, weights=weights)


def record(*layers, **fields):
    return config_record(model=chain(*layers), y=Y, **fields)


def test_a_model_without_trainable_weights():
    (finding,) = findings_of(SLUG, record(frozen("a", 25, 20), frozen("head", 1, 25)))
    assert finding.severity is Severity.ERROR
    assert "None of the 551 parameters" in finding.message
    assert "model.trainable = True" in finding.remedies[0].code
    assert "model.compile(" in finding.remedies[0].code


def test_a_body_frozen_at_its_random_start():
    (finding,) = findings_of(SLUG, record(frozen("a", 25, 20), dense("head", 1, 25)))
    assert finding.severity is Severity.WARNING
    assert "'a' is frozen at its random start" in finding.message


def test_what_is_frozen_beside_a_loss_of_ones_own_may_be_meant():
    run = record(frozen("target", 25, 20), dense("head", 1, 25))
    model = dataclasses.replace(run.model, custom_train_step=True)
    (finding,) = findings_of(SLUG, dataclasses.replace(run, model=model))
    assert finding.severity is Severity.INFO


def test_silent_on_a_trainable_model_and_on_a_pretrained_body():
    assert findings_of(SLUG, config_record(y=Y)) == ()
    assert findings_of(SLUG, record(frozen("a", 25, 20, std=0.6), dense("head", 1, 25))) == ()
    trained = OptimizerRecord(class_name="Adam", learning_rate=1e-3, iterations=9)
    layers = frozen("a", 25, 20), dense("head", 1, 25)
    assert findings_of(SLUG, record(*layers, optimizer=trained)) == ()


def test_a_kernel_too_small_to_tell_is_fresh_where_its_biases_are_still_zero():
    def small(**of_bias):
        made = frozen("a", 4, 2)
        weights = tuple(
            dataclasses.replace(w, **(of_bias if w.name == "bias" else {})) for w in made.weights
        )
        return record(dataclasses.replace(made, weights=weights), dense("head", 1, 4))

    assert len(findings_of(SLUG, small())) == 1
    assert findings_of(SLUG, small(mean=0.1, abs_max=0.2)) == ()


def test_random_features_that_were_enough_are_information():
    base = record(frozen("a", 25, 20), dense("head", 1, 25))
    assert findings_of(SLUG, learned(base, 0.96))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(base, 0.9))[0].severity is Severity.WARNING


def test_not_applicable_without_weights_or_model():
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"
    assert outcome_of(SLUG, config_record(model=chain(mlp().layers[0]))).status == "not_applicable"


def test_weights_that_are_zero_and_stay_so():
    body = frozen("body", 16, 20, std=0.0)
    weights = tuple(dataclasses.replace(w, abs_max=0.0) for w in body.weights)
    empty = record(dataclasses.replace(body, weights=weights), dense("head", 1, 16))
    finding = findings_of(SLUG, empty)[0]
    assert finding.message == "The weights of 'body' are all 0, and frozen: nothing gets through."
    assert finding.severity is Severity.ERROR
    assert "all 0" not in " ".join(f.message for f in findings_of(SLUG, learned(empty, 0.99)))
