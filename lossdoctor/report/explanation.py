"""A rule explained in the terminal, from what its class and docstring say."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lossdoctor.report import wording
from lossdoctor.rules._catalogue import RuleEntry

_WIDTH = 88


def print_explanation(entry: RuleEntry, *, file: TextIO | None = None) -> None:
    """Print what the rule detects, how, against which thresholds, and how to fix it."""
    file = file or sys.stdout
    terminal = Console(file=file)
    width = min(_WIDTH, terminal.width) if terminal.is_terminal else _WIDTH
    console = Console(file=file, width=width, highlight=False)
    console.print(Text.assemble((entry.title, "bold"), f"  {entry.slug}"))
    stage = entry.stage.name.lower().replace("_", " ")
    console.print(Text(f"{entry.severity.name}, stage of repair: {stage}", "dim"))
    console.print()
    console.print(_prose(entry.summary))
    for heading, text in entry.sections.items():
        console.print()
        console.print(Text(heading.rstrip("."), "bold"))
        for paragraph in text.split("\n\n"):
            console.print(Padding(_prose(paragraph), (0, 0, 0, 2), expand=False))
    if entry.thresholds:
        console.print()
        console.print(Text("Thresholds", "bold"))
        for name, (default, declared) in entry.thresholds.items():
            limit = f"fires {declared.fires} {wording.number(default)} {declared.unit}"
            console.print(
                Padding(Text.assemble((name, "cyan"), f"  {limit}"), (0, 0, 0, 2), expand=False)
            )
            console.print(
                Padding(Text(f"Source: {declared.source}", "dim"), (0, 0, 0, 4), expand=False)
            )
        field, (default, _) = next(iter(entry.thresholds.items()))
        console.print()
        console.print(
            f"  To change one: LossDoctor(rules=[*default_rules(), "
            f"{entry.class_name}({field}={default:g})])",
            soft_wrap=True,
            markup=False,
        )
    if entry.explains:
        console.print()
        console.print(Text("Can cause", "bold"))
        console.print(Padding(", ".join(entry.explains), (0, 0, 0, 2), expand=False))


def explanation(entry: RuleEntry) -> str:
    """The explanation as plain text."""
    buffer = io.StringIO()
    print_explanation(entry, file=buffer)
    return buffer.getvalue()


def _prose(text: str) -> Text:
    lines = text.splitlines()
    is_list = any(line.lstrip().startswith(("- ", "* ")) for line in lines)
    prose = Text(text if is_list else " ".join(text.split()))
    prose.highlight_regex(r"`[^`]+`", "cyan")
    return prose
