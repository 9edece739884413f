import dataclasses

import numpy as np

from lossdoctor.record.run import RunRecord, TargetPairing
from tests.records import (
    chain,
    config_record,
    dense,
    findings_of,
    layer,
    outcome_of,
    trained,
    weighted,
)

SLUG = "uninformative_inputs"
X = np.random.default_rng(0).normal(size=(300, 5))


def record(signal, rows=300, x=X, **fields):
    probes = {"signal": signal, "signal_rows": float(rows)}
    return config_record(x=x, y=x[:, 0], probes=probes, **fields)


def test_no_model_beats_a_constant():
    (finding,) = findings_of(SLUG, record(-0.004))
    assert "no better than a constant (R² -0.004 on 300 rows)" in finding.message
    assert "belong together" in finding.remedies[0].text


def test_threshold():
    assert findings_of(SLUG, record(0.011)) == ()
    assert len(findings_of(SLUG, record(0.009))) == 1
    assert findings_of(SLUG, record(0.001, rows=199)) == ()
    assert len(findings_of(SLUG, record(-0.001, rows=199))) == 1


def test_a_model_that_predicts_validation_rows_disproves_it():
    base = record(-0.004, validation=(X, X[:, 0]))
    for share, count in ((0.31, 0), (0.29, 1)):
        pairing = (TargetPairing(output=0, rows=300, r2=share),)
        validation = dataclasses.replace(base.validation, pairing=pairing)
        proved = dataclasses.replace(base, validation=validation)
        assert len(findings_of(SLUG, proved)) == count


def pooled(signal, flat=-0.01, x=X[:, :, None, None], **fields):
    probes = {"pooled_signal": signal, "flat_signal": flat, "signal_rows": 300.0}
    return config_record(x=x, y=X[:, 0], probes=probes, **fields)


def test_images_and_sequences_are_judged_by_pooled_features():
    (finding,) = findings_of(SLUG, pooled(0.039))
    assert "pooled over positions" in finding.message
    assert findings_of(SLUG, pooled(0.041)) == ()
    assert findings_of(SLUG, pooled(-0.01, flat=0.2)) == ()


def test_of_sequences_only_a_run_can_tell():
    untried = pooled(-0.01, x=X[:, :, None])
    assert "simple models alone say nothing" in outcome_of(SLUG, untried).reason
    pairing = (TargetPairing(output=0, rows=300, r2=0.1),)
    train = dataclasses.replace(untried.train, pairing=pairing)
    assert len(findings_of(SLUG, dataclasses.replace(untried, source="run", train=train))) == 1


def test_what_was_learned_by_heart_is_left_alone_where_nothing_is_held_out():
    base = pooled(-0.01)
    for share, status in ((0.91, "not_applicable"), (0.89, "found")):
        pairing = (TargetPairing(output=0, rows=300, r2=share),)
        run = dataclasses.replace(
            base, source="run", train=dataclasses.replace(base.train, pairing=pairing)
        )
        assert outcome_of(SLUG, run).status == status


def test_answers_for_every_position_are_not_judged():
    head = dense("head", 3, 8)
    head = dataclasses.replace(head, output_shape=(None, 15, 3))
    record = pooled(-0.01, model=chain(head))
    outputs = (dataclasses.replace(record.model.outputs[0], shape=(None, 15, 3)),)
    record = dataclasses.replace(record, model=dataclasses.replace(record.model, outputs=outputs))
    assert "every position" in outcome_of(SLUG, record).reason


def test_cannot_tell_of_few_rows_discrete_patterns_and_what_was_not_probed():
    assert "too few" in outcome_of(SLUG, record(-0.1, rows=99)).reason
    rare = record(0.0)
    rare = dataclasses.replace(rare, probes={**rare.probes, "minority_rows": 39.0})
    assert "too few" in outcome_of(SLUG, rare).reason
    parity = np.random.default_rng(0).integers(0, 2, size=(300, 8))
    assert "discrete" in outcome_of(SLUG, record(-0.1, x=parity)).reason
    embedding = weighted(layer("embedding", "Embedding"), 100, 8, name="embeddings")
    ids = chain(embedding, layer("flat", "Flatten"), dense("head", 1, 8))
    assert "ids" in outcome_of(SLUG, record(-0.1, model=ids)).reason
    assert "images" in outcome_of(SLUG, config_record(x=X, y=X[:, 0])).reason
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def sequences(signal, error_rate, ratio=0.01):
    run = trained(np.full(20, 0.98), ratio=ratio, error_rate=error_rate)
    return dataclasses.replace(run, probes={"flat_signal": signal})


def test_images_and_sequences_need_the_network_itself_as_a_witness():
    (finding,) = findings_of(SLUG, sequences(-0.01, error_rate=0.5))
    assert "this network predict unseen rows no better" in finding.message
    assert findings_of(SLUG, sequences(0.005, error_rate=0.5)) == ()
    assert findings_of(SLUG, sequences(-0.01, error_rate=0.2)) == (), "the network learns it"
    untried = outcome_of(SLUG, sequences(-0.01, error_rate=0.5, ratio=1e-4))
    assert "simple models alone say nothing" in untried.reason
