from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.label_encoding import Kind, LabelEncoding
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.misdirection import Misdirection
from lossdoctor.evidence.setup import Setup
from lossdoctor.finding import Finding, Measurement, Onset, Remedy, Severity, Stage
from lossdoctor.rules._effects import STUCK
from lossdoctor.rules._remedies.labels import encode_lines
from lossdoctor.rules._rule import Findings, Rule

ROUNDING = -1e-6
_ZERO_ONE = '(np.asarray({y}) > 0).astype("float32")'
BOUNDED = {
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "sparse_categorical_crossentropy",
    "squared_hinge",
}


@dataclass(frozen=True, kw_only=True)
class NegativeLoss(Rule):
    """The loss is negative, although it cannot be on valid labels.

    **What it detects.** A value below zero of a compiled loss that has zero as its lower bound;
    a loss of one's own that constants drive down without bound, past what perfect predictions get,
    or that fell below zero and perfect predictions while the answers are no better than a constant.

    **Why it matters.** A cross-entropy is only negative where a label is no probability. Then no
    prediction is best, as where one's own loss lacks a square: it falls while nothing is learned.

    **How it is measured.** The lowest loss of any epoch or step, where every compiled loss is one
    of Keras' own with the bound zero and nothing was added; one's own loss of the best constant a
    minimizer finds, against that of predictions equal to the targets.

    **How to fix it.** Labels in [0, 1] (or the encoding the loss expects), as the finding that
    explains this one says. A loss of one's own must be lowest where predictions equal targets.

    **When it is wrong.** Likelihoods of densities, -dice and other losses of one's own are rightly
    negative: it abstains unless wrong predictions are their lowest and no run learned by them. A
    history does not say which loss it shows, so there it only asks.

    **References.** Keras 3 `binary_crossentropy`: -y log p - (1 - y) log(1 - p).
    """

    title = "Negative loss"
    severity = Severity.ERROR
    stage = Stage.CONTRACT
    explains = STUCK | {"exploding_weights"}

    def check(
        self,
        curve: LossCurve | None,
        setup: Setup | None,
        encoding: LabelEncoding | None,
        misdirection: Misdirection | None,
    ) -> Findings:
        if misdirection is not None:
            yield self._misdirected(misdirection)
            return
        if curve is None:
            raise NotRecorded("the training loss: train with LossDoctor()")
        if setup is None:
            yield from self._from_history(curve)
            return
        if not setup.known_loss_semantics:
            raise NotApplicable(curve.unknown_meaning or "the meaning of the loss is unknown")
        unbounded = next((x.name for x in setup.losses if x.name not in BOUNDED), None)
        if unbounded or setup.model.added_losses:
            raise NotApplicable(f"{unbounded or 'what was added to the loss'} may be negative")
        if curve.lowest < ROUNDING:
            signs = encoding is not None and all(
                judged.labels.kind is Kind.SIGN for judged in encoding.judged
            )
            yield self._found(
                curve,
                f"{setup.losses[0].name} fell to {curve.lowest:.4g}, which no prediction can do to "
                "it on valid labels.",
                Severity.ERROR,
                "\n".join(encode_lines(setup, _ZERO_ONE)) if signs else "",
            )

    def _misdirected(self, loss: Misdirection) -> Finding:
        if loss.end is None:
            title = "A loss without a lowest value"
            found = f"A constant prediction brings your loss '{loss.name}' to {loss.constant:.2g}"
            why = " and on", "for being large (or small), not for being right"
            costs = {"best constant": loss.constant, "perfect predictions": loss.perfect}
        else:
            title = "A loss that rewards wrong predictions"
            found = f"Your loss '{loss.name}' fell to {loss.end:.4g}"
            why = " while the answers became no better than a constant one", "for being wrong"
            costs = {"last loss": loss.end, "perfect predictions": loss.perfect}
        if loss.perfect is not None:
            found += f"{why[0]}, predictions equal to the targets bring it to {loss.perfect:.4g}"
        return self.finding(
            f"{found}: it rewards predictions {why[1]}.",
            title=title,
            measurements=[Measurement(name=n, value=c) for n, c in costs.items() if c is not None],
            remedies=[
                Remedy(
                    text=f"Let '{loss.name}' grow with every distance from the target: squared or "
                    "absolute (as mse and mae), logarithms of probabilities with a minus."
                )
            ],
        )

    def _from_history(self, curve: LossCurve) -> Findings:
        if curve.lowest < ROUNDING:
            yield self._found(
                curve,
                f"The loss is negative (down to {curve.lowest:.4g}): right for a likelihood or a "
                "loss of your own, impossible for a cross-entropy on valid labels.",
                Severity.INFO,
                f"y = {_ZERO_ONE.format(y='y')}",
            )

    def _found(
        self, curve: LossCurve, message: str, severity: Severity, signs_to_bits: str
    ) -> Finding:
        return self.finding(
            message,
            severity=severity,
            measurements=[
                Measurement(name="lowest loss", value=curve.lowest, threshold=0.0, fires="below")
            ],
            onset=Onset(epoch=curve.best_epoch),
            remedies=[
                Remedy(
                    text="Look at the labels: cross-entropies need values in [0, 1]"
                    + ("; labels of -1 and 1 become 0 and 1." if signs_to_bits else "."),
                    code=signs_to_bits or "print(np.unique(y, return_counts=True))",
                )
            ],
        )
