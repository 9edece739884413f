import numpy as np
import pytest

from lossdoctor.finding import Severity
from tests.records import chain, config_record, dense, findings_of, layer, outcome_of

SLUG = "ids_out_of_range"
RANDOM = np.random.default_rng(0)
Y = np.arange(60) % 2


def model(rows=100):
    return chain(
        layer("embedding", "Embedding", input_dim=rows, output_dim=8),
        layer("pool", "GlobalAveragePooling1D"),
        dense("dense", 1, 8, activation="sigmoid"),
        inputs=12,
    )


def found(x, rows=100, **fields):
    return findings_of(SLUG, config_record(model=model(rows), x=x, y=Y, **fields))


def ids(low, high):
    drawn = RANDOM.integers(low, high + 1, (60, 12))
    drawn[0, :2] = low, high
    return drawn


def test_ids_beyond_the_table():
    (finding,) = found(ids(0, 150))
    assert finding.severity is Severity.ERROR
    assert finding.layers == ("embedding",)
    assert "150" in finding.message
    assert '"embedding": {"input_dim": 151}' in finding.remedies[0].code


def test_negative_ids():
    (finding,) = found(ids(-1, 50))
    assert "from 0 on" in finding.remedies[0].text


@pytest.mark.parametrize("scale", [1 / 100, 0.37])
def test_scaled_ids_are_no_ids(scale):
    (finding,) = found(ids(0, 99) * scale)
    assert "fractions" in finding.message


def test_validation_ids_beyond_the_table():
    (finding,) = found(ids(0, 99), validation=(ids(0, 120), Y))
    assert finding.message.startswith("Validation x")


def test_the_last_row_is_row_input_dim_less_one():
    assert not found(ids(0, 99))
    assert len(found(ids(0, 100))) == 1
    assert not found(ids(0, 99).astype(float))


def test_not_applicable_without_embedding_or_inputs():
    assert outcome_of(SLUG, config_record(x=np.ones((60, 20)), y=Y)).status == "not_applicable"
    assert outcome_of(SLUG, config_record(model=model(), y=Y)).status == "not_applicable"
