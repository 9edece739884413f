"""How a twin shows its harm where a lower score cannot."""

from __future__ import annotations

import warnings

import numpy as np

from lossdoctor.cases.case import Proof, Trial
from lossdoctor.cases.score import LIKELIHOOD, predict


def lower(by: float) -> Proof:
    """The score falls by less than what is asked for by default."""
    return Proof(claim=f"the score on held-out rows is lower by {by:g}", measure=Trial.score, by=by)


def less_likely(by: float) -> Proof:
    """The right class stays ahead, but with less probability."""
    return Proof(
        claim=f"the held-out labels are less likely under the predictions, by {by:g} nats per row",
        measure=_log_likelihood,
        by=by,
        worst=LIKELIHOOD.worst,
    )


def _log_likelihood(trial: Trial) -> float:
    return LIKELIHOOD(trial.model, trial.X_val, trial.y_val)


def _agreement(trial: Trial) -> float:
    return float(np.mean(np.rint(predict(trial.model, trial.X_val)).reshape(-1) == trial.y_val))


LABEL_AGREEMENT = Proof(
    claim="rounded predictions equal the labels less often: the two speak different encodings",
    measure=_agreement,
    by=0.05,
)


def _metric_honesty(trial: Trial) -> float:
    logged = next((v for k, v in trial.logs.items() if k.endswith("accuracy")), None)
    return 0.0 if logged is None else -abs(logged[-1] - _training_score(trial))


def _training_score(trial: Trial) -> float:
    return trial.case.recipe.score(trial.model, trial.X, trial.y)


METRIC_HONESTY = Proof(
    claim="the logged accuracy is not what the same rows' predictions give when recomputed",
    measure=_metric_honesty,
    by=0.1,
    worst=-1.0,
)


def _metric_of_nothing(trial: Trial) -> float:
    trial.model.reset_metrics()
    nothing = np.zeros_like(trial.y_val)
    logs = trial.model.compute_metrics(trial.X_val, trial.y_val, nothing, None)
    return -max((float(v) for k, v in logs.items() if k.endswith("accuracy")), default=0.0)


INFLATION = Proof(
    claim="the metric gives high marks to a model that answers 0 to everything",
    measure=_metric_of_nothing,
    by=0.2,
    worst=-1.0,
)


def _sight_of_low_targets(trial: Trial) -> float:
    predicted = predict(trial.model, trial.X_val).reshape(-1)
    low = trial.y_val < np.median(trial.y_val)
    wrong = np.where(low, predicted - 0.5, predicted)
    before, after = (
        float(trial.model.compute_loss(y=trial.y_val, y_pred=p[:, None]))
        for p in (predicted, wrong)
    )
    return min(1.0, after / before - 1)


SIGHT = Proof(
    claim="the loss hardly changes when the predictions for all low targets are made worse",
    measure=_sight_of_low_targets,
    by=0.5,
    worst=-1.0,
)


def _sums_to_one(trial: Trial) -> float:
    return -float(np.mean(np.abs(predict(trial.model, trial.X_val).sum(axis=-1) - 1)))


PROBABILITIES = Proof(
    claim="the rows of `predict` do not sum to 1",
    measure=_sums_to_one,
    by=0.1,
    worst=-1.0,
)


def _certainty(trial: Trial) -> float:
    return -float(np.mean(predict(trial.model, trial.X_val) == 0))


CERTAINTY = Proof(
    claim="`predict` gives more of the classes a probability of exactly 0",
    measure=_certainty,
    by=0.05,
    worst=-1.0,
)


def _objections(trial: Trial) -> float:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        trial.model.compute_loss(trial.X, trial.y, trial.model(trial.X))
    return -float(sum("from_logits" in str(warning.message) for warning in heard))


KERAS_OBJECTS = Proof(
    claim="Keras itself warns that it overrules `from_logits`",
    measure=_objections,
    by=0.5,
    worst=-1.0,
)


def _promise(trial: Trial) -> float:
    from lossdoctor.cases import get_case

    fresh = get_case(trial.case.healthy or trial.case.name).recipe.data()
    kept = trial.case.recipe.score(trial.model, fresh.X_val, fresh.y_val)
    return -abs(trial.score() - kept)


FRESH_ROWS = Proof(
    claim="the validation score promises more than rows never seen give",
    measure=_promise,
    by=0.03,
    worst=-1.0,
)
