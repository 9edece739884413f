from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from tests.records import chain, config_record, dense, findings_of, layer, learned, mlp, outcome_of

SLUG = "saturating_hidden_activations"
Y = [0, 1] * 20


def found(hidden, **fields):
    return findings_of(SLUG, config_record(model=mlp(hidden=hidden), y=Y, **fields))


def test_three_sigmoid_layers_in_a_row():
    (finding,) = found(((50, "sigmoid"),) * 3)
    assert finding.severity is Severity.WARNING
    assert finding.measurements[0].value == 3
    assert finding.layers == ("dense", "dense_1", "dense_2")
    code = finding.remedies[0].code
    assert '"dense": {"activation": "relu", "kernel_initializer": "he_uniform"}' in code


def test_silent_on_two_sigmoids_and_on_many_tanh():
    assert found(((50, "sigmoid"),) * 2) == ()
    assert found(((50, "tanh"),) * 15) == ()
    (finding,) = found(((50, "tanh"),) * 16)
    assert "16 tanh layers" in finding.message


def test_a_normalization_between_them_keeps_the_gradient_alive():
    sigmoids = [dense(f"s{i}", 20, 20, activation="sigmoid") for i in range(4)]
    normalization = layer("bn", "BatchNormalization")
    model = chain(*sigmoids[:2], normalization, *sigmoids[2:], dense("head", 1, 20))
    assert findings_of(SLUG, config_record(model=model, y=Y)) == ()


def test_activation_layers_count_and_can_be_changed():
    parts = []
    for i in range(3):
        parts += [dense(f"d{i}", 20, 20), layer(f"a{i}", "Activation", activation="sigmoid")]
    model = chain(*parts, dense("head", 1, 20))
    (finding,) = findings_of(SLUG, config_record(model=model, y=Y))
    assert '"a0": {"activation": "relu"}' in finding.remedies[0].code


def test_a_run_that_got_through_makes_it_information():
    record = config_record(model=mlp(hidden=((50, "sigmoid"),) * 4), y=Y)
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.INFO
    assert findings_of(SLUG, learned(record, 0.2))[0].severity is Severity.WARNING


def test_not_applicable_without_a_model():
    assert outcome_of(SLUG, RunRecord(source="history")).status == "not_applicable"


def test_a_softmax_in_a_hidden_layer():
    (finding,) = found(((50, "softmax"), (20, "relu")))
    assert finding.severity is Severity.WARNING
    assert "'dense', before the head, ends in a softmax, whose 50 units" in finding.message
    assert '"dense": {"activation": "relu"' in finding.remedies[0].code
    record = config_record(model=mlp(hidden=((50, "softmax"),)), y=Y)
    assert findings_of(SLUG, learned(record, 0.8))[0].severity is Severity.WARNING
    assert findings_of(SLUG, learned(record, 0.9))[0].severity is Severity.INFO
    assert not findings_of(SLUG, config_record(model=mlp(units=3, activation="softmax"), y=Y))
