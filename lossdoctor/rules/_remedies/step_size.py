"""Remedies that change how far the optimizer steps."""

from __future__ import annotations

from lossdoctor.evidence.loss_curve import MARGIN, LossCurve
from lossdoctor.evidence.rehearsal import RehearsedTraining
from lossdoctor.evidence.setup import Setup
from lossdoctor.evidence.step_size import ProposedRate, StepSize, rounded
from lossdoctor.finding import Remedy
from lossdoctor.rules._remedies.code import SCHEDULER, compile_code, without_callback

_CLIP = Remedy(
    text="If single batches still throw the run off at the lower rate, clip the gradients: a step "
    "then cannot be longer than the learning rate times this norm.",
    code="model.optimizer.global_clipnorm = 1.0",
)

_RAISED, _MOVES = 10.0, 1e-3
ADADELTA = 1.0  # Zeiler (2012): steps are of the size of earlier ones, without any rate


def set_rate(setup: Setup, rate: float) -> str:
    """Code that gives the model another learning rate and changes nothing else."""
    if setup.optimizer is not None and setup.optimizer.schedule:
        return compile_code(setup, learning_rate=rate)
    return f"model.optimizer.learning_rate = {float(f'{rate:g}')}"


def lower_rate(setup: Setup, proposed: ProposedRate, present: float) -> Remedy:
    """Lower the learning rate to a number derived from this run."""
    text = f"Lower the learning rate from {present:g} to {proposed.rate:g}: {_derived(proposed)}."
    code = set_rate(setup, proposed.rate)
    if setup.has_callback(SCHEDULER):
        text += (
            f" The {SCHEDULER} would set its own again: let it stay below that, or leave it out."
        )
        code += "\n" + without_callback(SCHEDULER)
    return Remedy(text=text, code=code)


def calm_rate(rehearsed: RehearsedTraining) -> Remedy:
    """Lower the learning rate to half the largest one that stayed calm in the rehearsal."""
    rate = rehearsed.proposed_rate
    if rate is None:
        rate = rounded(rehearsed.lowest_rate / 10)
        why = f"no rate down to {rehearsed.lowest_rate:.2g} stayed calm in the rehearsal"
    else:
        why = (
            f"half of {rehearsed.calm_rate:.2g}, the largest rate that stayed calm in the rehearsal"
        )
    if rehearsed.curvature_rate is not None:
        why += (
            f" (by its curvature λ = {rehearsed.sharpness:.3g} alone, steps overshoot from "
            f"{rehearsed.curvature_rate:.2g} on)"
        )
    return Remedy(
        text=f"Lower the learning rate from {rehearsed.rate:g} to {rate:g}: {why}.",
        code=set_rate(rehearsed.setup, rate),
    )


def _keep_first_rate(setup: Setup, sizes: StepSize) -> Remedy | None:
    """Take out what raised the rate during the run, where lowering its start would be in vain."""
    first = float(sizes.learning_rate[0])
    by_schedule = bool(setup.optimizer and setup.optimizer.schedule)
    # A warm-up begins where hardly anything moves, and is to rise.
    if (
        not _raised(sizes)
        or sizes.first < _MOVES
        or not (setup.has_callback(SCHEDULER) or by_schedule)
    ):
        return None
    what = "a LearningRateScheduler" if setup.has_callback(SCHEDULER) else "its schedule"
    return Remedy(
        text=f"Take out what raises the rate: it began at {first:g}, and {what} brought it to "
        f"{sizes.present_rate:g}. If it was to fall, look at the schedule's sign.",
        code=without_callback(SCHEDULER)
        if setup.has_callback(SCHEDULER)
        else set_rate(setup, first),
    )


def _raised(sizes: StepSize) -> bool:
    return sizes.present_rate >= _RAISED * float(sizes.learning_rate[0])


def smaller_steps(setup: Setup, sizes: StepSize, curve: LossCurve) -> list[Remedy]:
    """Lower the learning rate; then clip the gradients, where that is not done already."""
    lower = _keep_first_rate(setup, sizes) or lower_rate(
        setup, sizes.lower_rate(curve.growth), sizes.present_rate
    )
    optimizer = setup.optimizer
    if optimizer and (optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue):
        return [lower]
    return [lower, _CLIP]


def lower_from_curve(curve: LossCurve) -> Remedy:
    """Lower the learning rate by what the growth of the loss from epoch to epoch demands."""
    factor = curve.stable_factor
    if factor is None:
        factor, why = 0.1, "the loss does not grow steadily enough to compute how much"
    else:
        why = (
            "the steady growth of the loss puts the largest stable rate at "
            f"{factor / MARGIN:.2g} times the present one, and half of it leaves a margin"
        )
    if curve.learning_rate is None:
        return Remedy(
            text=f"Multiply the learning rate by {factor:.2g}: {why}.",
            code="rate = float(model.optimizer.learning_rate)\n"
            f"model.optimizer.learning_rate = {factor:.2g} * rate",
        )
    rate = rounded(factor * curve.learning_rate)
    return Remedy(
        text=f"Lower the learning rate from {curve.learning_rate:g} to {rate:g}: {why}.",
        code=f"model.optimizer.learning_rate = {rate:g}",
    )


def decay_rate(curve: LossCurve, present: float | None) -> Remedy:
    """Let the learning rate fade to zero over the run."""
    if not present or not curve.total_steps:
        return Remedy(
            text="Let the learning rate decay over the run (keras.optimizers.schedules."
            "CosineDecay, or the callback ReduceLROnPlateau), so that the last steps are small "
            "enough to settle."
        )
    return Remedy(
        text=f"Let the learning rate fade from {present:g} to 0 over the run's "
        f"{curve.total_steps:,} steps: large steps early for speed, small ones late to settle.",
        code="model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(\n"
        f"    {present:g}, decay_steps={curve.total_steps}\n)",
    )


def raise_rate(setup: Setup, proposed: ProposedRate, present: float) -> Remedy:
    """Raise the learning rate to a number derived from this run, or to what its method asks for."""
    if setup.optimizer and setup.optimizer.class_name == "Adadelta" and present < ADADELTA:
        return Remedy(
            text=f"Raise the learning rate from {present:g} to {ADADELTA:g}, which Adadelta was "
            "made for: Keras' default of 0.001 is a thousandth of it. Or use Adam as it is.",
            code=set_rate(setup, ADADELTA),
        )
    return Remedy(
        text=f"Raise the learning rate from {present:g} to {proposed.rate:g}: "
        f"{_derived(proposed)}. More epochs would get there too, but it would take "
        f"{proposed.rate / present:,.0f} times as many.",
        code=set_rate(setup, proposed.rate),
    )


def adaptive_optimizer(setup: Setup) -> Remedy | None:
    """Adam in place of SGD, which needs a rate fitted to the size of the gradients."""
    if setup.optimizer is None or setup.optimizer.class_name != "SGD":
        return None
    return Remedy(
        text="Or use Adam, whose steps do not depend on the size of the gradients.",
        code=compile_code(setup, optimizer="keras.optimizers.Adam(learning_rate=0.001)"),
    )


def _derived(proposed: ProposedRate) -> str:
    if proposed.basis == "update":
        return (
            f"the first update then changes the weights by {_percent(proposed.update_ratio)} of "
            f"their size instead of {_percent(proposed.value)}"
        )
    if proposed.basis == "decades":
        return "a tenth of the present one, since the run left nothing to compute one from"
    source = "secant curvature" if proposed.basis == "curvature" else "growth of the loss"
    return (
        f"{MARGIN:g} times the largest stable rate {proposed.largest_stable:.2g} that the {source} "
        f"gives (λ = {proposed.value:.3g})"
    )


def _percent(share: float) -> str:
    return f"{100 * share:,.2g} %" if share < 1 else f"{100 * share:,.0f} %"
