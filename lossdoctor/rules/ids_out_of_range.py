from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.token_ids import EmbeddedInput, TokenIds
from lossdoctor.finding import Finding, Measurement, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.code import rebuild_code
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class IdsOutOfRange(Rule):
    """An embedding is asked for ids it has no row for.

    **What it detects.** Inputs of an Embedding that are negative, or not below its `input_dim`, or
    no whole numbers.

    **Why it matters.** An id outside the table raises at fit on a CPU and silently becomes a row
    of zeros on a GPU. Fractions (ids that went through a scaler or a division) are cut to whole
    numbers, so that most of the vocabulary becomes id 0.

    **How it is measured.** Smallest and largest value of the input over all examples against
    `input_dim`, for inputs an embedding reads as they are.

    **How to fix it.** `input_dim` is the largest id plus one. Ids are names, not quantities: no
    scaling, no float.

    **When it is wrong.** Ids that another layer maps or hashes first are not judged.

    **References.** Keras: `Embedding`, argument input_dim.
    """

    title = "Ids outside the embedding's table"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {"uninformative_inputs", "unscaled_inputs"}

    def check(self, ids: TokenIds) -> Findings:
        for read in ids.inputs:
            if not read.summary.integral:
                yield self._fractions(read)
            elif read.outside:
                yield self._outside(read, ids.setup)

    def _fractions(self, read: EmbeddedInput) -> Finding:
        low, high = read.summary.min, read.summary.max
        return self.finding(
            f"{_whose(read)} holds fractions from {low:.4g} to {high:.4g}, which "
            f"'{read.embedding.name}' cuts to whole ids from {int(low)} to {int(high)}.",
            measurements=[
                Measurement(name="smallest value", value=low),
                Measurement(name="largest value", value=high),
            ],
            layers=[read.embedding.name],
            remedies=[
                Remedy(
                    text="Feed the ids as they are, without scaler or division: an embedding "
                    "looks up a row by its number, and has no use for the scale of ids. For "
                    "quantities use Dense instead of Embedding."
                )
            ],
        )

    def _outside(self, read: EmbeddedInput, setup: Setup) -> Finding:
        low, high = int(read.summary.min), int(read.summary.max)
        name = read.embedding.name
        return self.finding(
            f"{_whose(read)} holds ids from {low} to {high}, while '{name}' has rows for 0 to "
            f"{read.rows - 1}: this raises on a CPU, and looks up zeros on a GPU.",
            measurements=[
                Measurement(name="smallest id", value=low, threshold=0.0, fires="below"),
                Measurement(name="largest id", value=high, threshold=read.rows - 1, fires="above"),
            ],
            layers=[name],
            remedies=[
                Remedy(text="Number the ids from 0 on; 0 itself is best kept for padding.")
                if low < 0
                else Remedy(
                    text=f"Give the embedding one row for each id: input_dim={high + 1}, the "
                    "largest id plus one (ids begin at 0). Or keep only the most frequent words "
                    f"when numbering them, so that no id exceeds {read.rows - 1}.",
                    code=rebuild_code(setup, {name: {"input_dim": high + 1}}),
                )
            ],
        )


def _whose(read: EmbeddedInput) -> str:
    return f"Validation {read.summary.name}" if read.validation else read.summary.name
