"""What the README shows is what the library says."""

import json
from pathlib import Path

from lossdoctor.rules._catalogue import markdown_table
from lossdoctor.validation.calibration import SHIPPED, markdown

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_table_of_rules_is_the_generated_one():
    start, end = "<!-- lossdoctor rules --markdown -->\n", "\n<!-- end of rules -->"
    shown = README.partition(start)[2].partition(end)[0]
    assert shown == markdown_table().strip()


def test_the_two_commands_are_there():
    assert "pip install . && .venv/bin/lossdoctor demo" in README
    assert 'pip install ".[test]" && .venv/bin/pytest' in README


def test_the_reliability_of_probabilities_is_the_shipped_one():
    shown = README.partition("<!-- reliability -->\n")[2].partition(
        "\n<!-- end of reliability -->"
    )[0]
    assert shown == markdown(json.loads(SHIPPED.read_text(encoding="utf-8")))
