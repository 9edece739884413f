from lossdoctor.rules import rule_classes
from lossdoctor.rules._catalogue import HEADINGS, catalogue, entry, markdown_table
from lossdoctor.rules.single_unit_softmax import SingleUnitSoftmax
from lossdoctor.rules.unscaled_inputs import UnscaledInputs


def test_entry_reads_the_docstring():
    described = entry(SingleUnitSoftmax)
    assert described.slug == "single_unit_softmax"
    assert (
        described.summary
        == "A softmax over a single unit, which puts out exactly 1 for every example."
    )
    assert tuple(described.sections) == HEADINGS
    assert " ".join(described.sections["What it detects."].split()) == (
        "A head, or a hidden layer such as attention's scores, whose softmax normalizes over an "
        "axis of size 1."
    )


def test_entry_reads_the_thresholds():
    default, declared = entry(UnscaledInputs).thresholds["root_mean_square"]
    assert default == UnscaledInputs().root_mean_square
    assert declared.fires == "above"


def test_catalogue_holds_every_rule_in_the_order_of_repair():
    entries = catalogue()
    assert {e.slug for e in entries} == rule_classes().keys()
    assert [e.stage for e in entries] == sorted(e.stage for e in entries)


def test_markdown_table_has_one_row_per_rule():
    rows = markdown_table().splitlines()
    assert len(rows) == 2 + len(rule_classes())
    assert all(row.count("|") - row.count("\\|") == 4 for row in rows)
    assert any(row.startswith("| `single_unit_softmax` | ERROR | A softmax") for row in rows)
