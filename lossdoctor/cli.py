"""The command line: thin, every command a call of the library."""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

import click

import lossdoctor
from lossdoctor.report.report import SUFFIXES, Format, Report

if TYPE_CHECKING:
    from rich.table import Table

_NOTHING, _FINDINGS, _UNREADABLE = 0, 1, 2
_Item = TypeVar("_Item")

_FORMATS = click.Choice(get_args(Format))
_PATH = click.Path(path_type=Path)
_EXIT_CODES = """
\b
Exit codes:
  0  nothing to fix
  1  findings of severity WARNING or ERROR
  2  wrong usage, or input that cannot be read
"""


class _Unreadable(click.ClickException):
    exit_code = _UNREADABLE


def _refuse(error: Exception) -> NoReturn:
    raise _Unreadable(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lossdoctor.__version__, prog_name="lossdoctor")
def main() -> None:
    """Why is my loss increasing, and what do I change first?

    LossDoctor tells why the loss of a Keras model increases, stalls or is NaN. Inside Python, use
    check_config(model, y) before training and model.fit(..., callbacks=[LossDoctor()]) during it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def _output_options(command: Any) -> Any:
    options = [
        click.option(
            "--format",
            "-f",
            "form",
            type=_FORMATS,
            help="Form of the report. Default: by the suffix of --output, else text.",
        ),
        click.option("--output", "-o", type=_PATH, help="Write the report to this file."),
        click.option("--html", type=_PATH, help="Also save the report as HTML here."),
        click.option("--ignore", multiple=True, metavar="RULE", help="Leave a rule out."),
        click.option("--verbose", "-v", is_flag=True, help="Show everything there is to say."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(epilog=_EXIT_CODES)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_output_options
def diagnose(
    paths: tuple[Path, ...],
    form: Format | None,
    output: Path | None,
    html: Path | None,
    ignore: tuple[str, ...],
    verbose: bool,
) -> None:
    """Diagnose runs that are over.

    PATH is a record saved with doctor.record.save(), a CSVLogger file, a history saved as JSON,
    a TensorBoard event folder, an MLflow run folder or its SQLite file. One run gives its report;
    several give one table, the most troubled run first.
    """
    from lossdoctor.sources.many import find_runs

    runs = find_runs(paths)
    if len(runs) > 1:
        _triage(runs, form, output, html, ignore)
    try:
        report = lossdoctor.diagnose(runs[0], ignore=ignore)
    except (ValueError, OSError) as error:
        _refuse(error)
    _deliver(report, form, output, html, verbose)


@main.command(epilog=_EXIT_CODES)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=".npz with arrays x, y (and x_val, y_val), or .csv or .parquet with --target.",
)
@click.option("--target", metavar="COLUMN", help="Column of the table that holds the targets.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs you plan to train.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Batch size you plan to use.")
@click.option("--no-rehearse", is_flag=True, help="Do not rehearse the first training steps.")
@_output_options
def check(
    model: Path,
    data: Path,
    target: str | None,
    epochs: int | None,
    batch_size: int | None,
    no_rehearse: bool,
    form: Format | None,
    output: Path | None,
    html: Path | None,
    ignore: tuple[str, ...],
    verbose: bool,
) -> None:
    """Check a compiled MODEL.keras and its training data before training.

    Nothing in the model file or the data file is executed: files that would need that are refused.
    """
    from lossdoctor.sources.arrays import read_arrays

    _import_tensorflow_quietly()
    try:
        arrays = read_arrays(data, target)
        report = lossdoctor.check_config(
            _load_model(model),
            arrays.y,
            x=arrays.x,
            validation_data=arrays.validation,
            epochs=epochs,
            batch_size=batch_size,
            rehearse=not no_rehearse,
            ignore=ignore,
        )
    except (ValueError, OSError) as error:
        _refuse(error)
    _deliver(report, form, output, html, verbose)


@main.command()
@click.option("--case", "name", metavar="NAME", help="Another case than the default.")
@click.option("--list", "listing", is_flag=True, help="List all cases.")
@click.option(
    "--record",
    "record_path",
    type=_PATH,
    default=Path("demo.lossdoctor"),
    show_default=True,
    help="Where to save the record of the broken run.",
)
def demo(name: str | None, listing: bool, record_path: Path) -> None:
    """Train a broken tutorial and its healthy twin, and read both reports.

    Then the first remedy is applied to the broken one and it is trained again.
    """
    from lossdoctor import demo as demonstration

    if listing:
        _print_table(demonstration.list_cases())
        return
    _import_tensorflow_quietly()
    try:
        demonstration.run_demo(name or demonstration.DEFAULT_CASE, record_path=record_path)
    except (ValueError, OSError) as error:
        _refuse(error)


@main.command(epilog=_EXIT_CODES)
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs each."
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--remedies", is_flag=True, help="Apply the first remedies and train again.")
@click.option(
    "--records", type=_PATH, help="Keep the records here and reuse those that stand there."
)
@click.option(
    "--random",
    "drawn",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instead of the fixed cases, draw N random set-ups and break them at random.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="What the random set-ups are drawn from.",
)
def validate(
    names: tuple[str, ...],
    seeds: int,
    jobs: int,
    remedies: bool,
    records: Path | None,
    drawn: int | None,
    seed: int,
) -> None:
    """Train all cases, or CASE..., and compare each report with the truth.

    Exits 1 when a case fails. With --random, set-ups that train well are drawn and broken, which
    scores the diagnosis on cases nobody chose.
    """
    from rich.console import Console

    from lossdoctor import validation

    if drawn and (names or remedies):
        raise click.UsageError("--random draws its own cases: give no CASE and no --remedies.")
    _import_tensorflow_quietly()
    console = Console()
    wide = console if console.is_terminal else Console(width=160)
    try:
        if drawn:
            scored = validation.validate_random(range(drawn), seed=seed, jobs=jobs, records=records)
            scored.print_tables(wide)
            sys.exit(_NOTHING if scored.ok else _FINDINGS)
        result = validation.validate(
            names or None,
            seeds=tuple(range(1, seeds + 1)),
            jobs=jobs,
            remedies=remedies,
            records=records,
        )
    except (ValueError, OSError) as error:
        _refuse(error)
    result.print_table(wide)
    sys.exit(_NOTHING if result.ok else _FINDINGS)


@main.command()
@click.option("--markdown", is_flag=True, help="As the Markdown table of the README.")
def rules(markdown: bool) -> None:
    """List all rules."""
    from lossdoctor.rules import _catalogue

    if markdown:
        click.echo(_catalogue.markdown_table(), nl=False)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rule", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("what it finds", ratio=1)
    for entry in _catalogue.catalogue():
        table.add_row(entry.slug, entry.severity.name, Text(entry.summary))
    _print_table(table)


@main.command()
@click.argument("rule")
def explain(rule: str) -> None:
    """Explain RULE: what it detects, how, and how to fix it."""
    from lossdoctor.rules import rule_classes
    from lossdoctor.rules._catalogue import entry

    known = rule_classes()
    if rule not in known:
        close = difflib.get_close_matches(rule.lower().replace("-", "_"), known, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise click.UsageError(f"There is no rule {rule!r}.{hint} `lossdoctor rules` lists them.")
    from lossdoctor.report.explanation import print_explanation

    print_explanation(entry(known[rule]))


def _import_tensorflow_quietly() -> None:
    """Import TensorFlow and let it look for devices while nobody sees its standard error.

    Its libraries write there before their own log level is set; Python's redirection is too late.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_logical_devices()
        # What Keras warns about is what the report explains.
        warnings.filterwarnings("ignore", category=UserWarning, module="keras")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _load_model(path: Path) -> Any:
    if path.suffix.lower() != ".keras":
        # The older formats can hold code that runs when the file is loaded.
        raise ValueError(
            f"{path} is not a .keras file, the one format that loads without running code from it. "
            "Save the compiled model with model.save('model.keras')."
        )
    import keras

    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:
        # Keras raises whatever the damaged or foreign part of the file led to.
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"Keras cannot load {path} safely: {first_line} For a model with custom objects or "
            "Lambda layers, call lossdoctor.check_config(model, y, x=x) where it is built."
        ) from error


def _deliver(
    report: Report, form: Format | None, output: Path | None, html: Path | None, verbose: bool
) -> NoReturn:
    chosen = _format(form, output)
    try:
        if html:
            html.write_text(report.render("html"), encoding="utf-8")
        if output:
            output.write_text(report.render(chosen), encoding="utf-8")
        elif chosen == "text":
            from lossdoctor.report.text import print_report

            print_report(report, verbose=verbose)
        else:
            click.echo(report.render(chosen), nl=False)
    except OSError as error:
        _refuse(error)
    sys.exit(_NOTHING if report.ok else _FINDINGS)


def _format(form: Format | None, output: Path | None) -> Format:
    if form or not output:
        return form or "text"
    if output.suffix.lower() not in SUFFIXES:
        raise click.UsageError(
            f"--output {output} says no format: end it in {', '.join(SUFFIXES)} or give --format."
        )
    return SUFFIXES[output.suffix.lower()]


def _print_table(table: Table) -> None:
    from rich.console import Console

    console = Console()
    # A pipe has no width to fit into; 120 columns keep the lines whole in most of them.
    (console if console.is_terminal else Console(width=120)).print(table)


def _triage(
    runs: list[Path],
    form: Format | None,
    output: Path | None,
    html: Path | None,
    ignore: tuple[str, ...],
) -> NoReturn:
    from lossdoctor.engine import resolve_rules
    from lossdoctor.report import triage
    from lossdoctor.sources.many import diagnose_many

    chosen = _format(form, output)
    try:
        resolve_rules(ignore=ignore)
        diagnosed = diagnose_many(runs, ignore=ignore)
        found = triage.triage(_with_progress(diagnosed, len(runs), "Diagnosing"))
        if html:
            html.write_text(triage.render(found, "html"), encoding="utf-8")
        if output:
            output.write_text(triage.render(found, chosen), encoding="utf-8")
        elif chosen == "text":
            triage.print_table(found, file=sys.stdout)
        else:
            click.echo(triage.render(found, chosen), nl=False)
    except (ValueError, OSError) as error:
        _refuse(error)
    verdicts = {run.verdict for run in found}
    if "unreadable" in verdicts:
        sys.exit(_UNREADABLE)
    sys.exit(_FINDINGS if verdicts & {"error", "warning"} else _NOTHING)


def _with_progress(items: Iterable[_Item], total: int, label: str) -> Iterator[_Item]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(
        items,
        description=label,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
