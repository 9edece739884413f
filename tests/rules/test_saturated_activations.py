import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.evidence.test_saturation import seen
from tests.records import findings_of, mlp, outcome_of, run_record, trained, with_weights

MODEL = mlp(hidden=((25, "tanh"), (25, "tanh")))


def record(first=0.9, second=0.1, *, end=1.0, model=MODEL, **fields) -> RunRecord:
    found = trained([1.0] * 3 + [end], model=model, **fields)
    return run_record(found, activations=(seen("dense", first), seen("dense_1", second)))


def test_fires_and_normalizes_what_the_layer_receives():
    (finding,) = findings_of("saturated_activations", record())
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("dense",)
    assert "90% of the outputs of 'dense' (tanh)" in finding.message
    code = finding.remedies[0].code
    assert code.index("BatchNormalization()") < code.index("from_config")


def test_large_kernels_are_drawn_anew():
    model = with_weights(MODEL, "kernel", std=2.0)
    (finding,) = findings_of("saturated_activations", record(model=model))
    assert '"kernel_initializer": "glorot_uniform"' in finding.remedies[0].code
    assert "enlarged its input 8.9 times" in finding.remedies[0].text


def test_large_steps_are_made_smaller():
    (finding,) = findings_of("saturated_activations", record(ratio=0.9))
    assert "model.optimizer.learning_rate = " in finding.remedies[0].code


def test_silent_where_training_chose_the_tails():
    assert not findings_of("saturated_activations", record(0.97, 0.97, end=0.4))


@pytest.mark.parametrize(("share", "fires"), [(0.51, True), (0.5, False)])
def test_boundary_of_the_share(share, fires):
    assert bool(findings_of("saturated_activations", record(share))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.91, True), (0.89, False)])
def test_boundary_of_what_remains(end, fires):
    assert bool(findings_of("saturated_activations", record(end=end))) is fires


def test_not_applicable():
    history = RunRecord(source="history")
    assert "LossDoctor()" in outcome_of("saturated_activations", history).reason
    assert outcome_of("saturated_activations", trained([1.0] * 4)).status == "not_applicable"


def test_biases_in_the_tail_start_at_zero():
    model = with_weights(MODEL, "bias", mean=10.0)
    (finding,) = findings_of("saturated_activations", record(model=model))
    assert '"bias_initializer": "zeros"' in finding.remedies[0].code
    assert "begin at 10 in size" in finding.remedies[0].text
