"""Fit the probability that a finding names a root cause, on drawn cases that were recorded.

    python -m lossdoctor.validation.calibration 1:77 2:63 7:154 --records FOLDER

Each SEED:COUNT stands for `lossdoctor validate --random COUNT --seed SEED --records FOLDER`; what
is not in the folder is trained. Writes `lossdoctor/probability.json` and prints the README's table.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import lossdoctor
from lossdoctor.probability import traits_of
from lossdoctor.validation.drawn import validate_random
from lossdoctor.validation.reliability import Reliability
from lossdoctor.validation.tally import Judged

SHIPPED = Path(lossdoctor.__file__).parent / "probability.json"
FEWEST = 3
"""A rule that was found less often has no probability."""

_FOLDS = 10
_SHRINKAGE = 0.3
"""Weight of the squared coefficients: what a rule's offset costs that few findings ask for."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding of WARNING or ERROR, and whether it named a root cause.

    `case` is the number of the drawn case, the same for its healthy and its `broken` run. `place`
    counts the findings of a run, and `first` says whether this one would be right as the first.
    """

    case: int
    broken: bool
    place: int
    rule: str
    traits: dict[str, float]
    true: bool
    first: bool


def calibrate(judged: Sequence[Judged], command: str) -> dict[str, Any]:
    """All that `probability.json` holds; `command` says where the cases came from."""
    return {
        "about": "Log-odds = intercept + traits + offset of the rule: lossdoctor/probability.py",
        "date": str(datetime.date.today()),
        "command": command,
        "healthy_runs": sum(case.healthy is not None for case in judged),
        "broken_runs": sum(case.broken is not None for case in judged),
        "sources": {source: fit(claims(judged, source)) for source in ("run", "config")},
    }


def claims(judged: Sequence[Judged], source: str) -> tuple[Claim, ...]:
    """What was claimed of all runs, after training (`"run"`) or before it (`"config"`)."""
    return tuple(
        claim for number, case in enumerate(judged) for claim in _claims(case, number, source)
    )


def _claims(judged: Judged, number: int, source: str) -> Iterable[Claim]:
    told = ((judged.healthy, (), ()), (judged.broken, judged.causes, judged.truth))
    for examination, causes, truth in told:
        if examination is None:
            continue
        after = source == "run"
        ranked = examination.findings if after else examination.findings_before
        for place, (finding, traits) in enumerate(zip(ranked, traits_of(ranked))):
            if traits is not None:
                yield Claim(
                    case=number,
                    broken=examination is judged.broken,
                    place=place,
                    rule=finding.rule,
                    traits=traits,
                    true=finding.rule in causes,
                    first=finding.rule in truth,
                )


def fit(all_claims: Sequence[Claim]) -> dict[str, Any]:
    """Coefficients, and how reliable they prove on cases left out of the fit."""
    often = Counter(claim.rule for claim in all_claims)
    known = [claim for claim in all_claims if often[claim.rule] >= FEWEST]
    rules = sorted({claim.rule for claim in known})
    traits = list(known[0].traits)
    table = np.array(
        [
            [claim.traits[name] for name in traits] + [claim.rule == rule for rule in rules]
            for claim in known
        ],
        dtype=np.float64,
    )
    true = np.array([claim.true for claim in known])
    model = _model().fit(table, true)
    unseen = _out_of_fold(table, true, np.array([claim.case for claim in known]))
    reliability = Reliability(probability=unseen, came_true=true)
    unexplained = np.array([not claim.traits["explained"] for claim in known])
    roots = Reliability(probability=unseen[unexplained], came_true=true[unexplained])
    weights = [round(float(weight), 3) for weight in model.coef_[0]]
    return {
        "findings": len(known),
        "true": int(true.sum()),
        "intercept": round(float(model.intercept_[0]), 3),
        "traits": dict(zip(traits, weights)),
        "rules": dict(zip(rules, weights[len(traits) :])),
        "cross_validated": {
            "expected_calibration_error": round(reliability.error, 3),
            "of_unexplained_findings": round(roots.error, 3),
            "reliability": [
                {
                    "probability": f"{b.low:.1f}-{b.high:.1f}",
                    "findings": b.findings,
                    "said": round(b.said, 3),
                    "true": round(b.true, 3),
                }
                for b in reliability.bins
            ],
            "first_by_rank": _right_first(known, np.array([-claim.place for claim in known])),
            "first_by_probability": _right_first(known, unseen),
        },
    }


def _model() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / _SHRINKAGE, max_iter=1000)


def _out_of_fold(
    table: NDArray[np.float64], true: NDArray[np.bool_], cases: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities from fits that saw no finding of the same case."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    folds = GroupKFold(_FOLDS)
    told = cross_val_predict(_model(), table, true, groups=cases, cv=folds, method="predict_proba")
    return np.asarray(told[:, 1], dtype=np.float64)


def _right_first(known: Sequence[Claim], order: NDArray[np.float64]) -> float:
    """Share of broken runs with any finding on which the one of highest order is right."""
    first: dict[int, tuple[float, bool]] = {}
    for claim, value in zip(known, order):
        if claim.broken and value > first.get(claim.case, (-np.inf, False))[0]:
            first[claim.case] = (float(value), claim.first)
    return round(float(np.mean([right for _, right in first.values()])), 3)


def markdown(found: Mapping[str, Any]) -> str:
    """How reliable the probabilities proved, as it stands in the README."""
    run, config = (found["sources"][source]["cross_validated"] for source in ("run", "config"))
    lines = [
        f"`{found['command']} --records FOLDER`, {found['date']}: "
        f"{found['healthy_runs']} healthy and {found['broken_runs']} broken runs, "
        "cross-validated by case.",
        "",
        "| | after training | by `check_config` |",
        "|---|---|---|",
    ]
    shown = {
        "expected calibration error": "expected_calibration_error",
        "the same, over findings that nothing explains": "of_unexplained_findings",
        "root cause first in the plain order": "first_by_rank",
        "root cause is the most probable finding": "first_by_probability",
    }
    lines += [f"| {text} | {run[name]:.3f} | {config[name]:.3f} |" for text, name in shown.items()]
    lines += ["", "| probability | findings | said | true | findings | said | true |"]
    lines += ["|---|---|---|---|---|---|---|"]
    by_bin: dict[str, list[str]] = {}
    for column, proved in enumerate((run, config)):
        for b in proved["reliability"]:
            cells = by_bin.setdefault(b["probability"], [""] * 6)
            cells[3 * column : 3 * column + 3] = (
                str(b["findings"]),
                f"{b['said']:.2f}",
                f"{b['true']:.2f}",
            )
    lines += [f"| {bin} | {' | '.join(cells)} |" for bin, cells in sorted(by_bin.items())]
    return "\n".join(lines)


@click.command()
@click.argument("drawn", nargs=-1, required=True, metavar="SEED:COUNT...")
@click.option("--records", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--output", type=click.Path(path_type=Path), default=SHIPPED, show_default=True)
def main(drawn: Sequence[str], records: Path, output: Path) -> None:
    """Fit the coefficients on the cases SEED:COUNT... and write them as JSON."""
    judged: list[Judged] = []
    for pair in drawn:
        seed, count = map(int, pair.split(":"))
        judged += validate_random(range(count), seed=seed, records=records).judged
    found = calibrate(judged, f"python -m lossdoctor.validation.calibration {' '.join(drawn)}")
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    click.echo(markdown(found))


if __name__ == "__main__":
    main()
