"""A twin in one line: its name, its fault, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.cases.case import Case, Proof
from lossdoctor.cases.controls import CONTROLS
from lossdoctor.cases.faults import Fault
from lossdoctor.cases.tutorials import TUTORIALS, VARIANTS

_HEALTHY = {case.name: case for case in (*TUTORIALS, *VARIANTS, *CONTROLS)}

# These rules read nothing but the configuration and the data. A twin differs from its healthy
# case in one fault, so whichever of them speaks besides the one named accuses the innocent.
_STATIC_RULES = frozenset(
    {
        "single_unit_softmax",
        "missing_final_activation",
        "double_softmax",
        "final_activation_range",
        "output_units",
        "loss_label_encoding",
        "labels_out_of_range",
        "hinge_label_encoding",
        "loss_task",
        "metric_task",
        "target_rank",
        "missing_targets",
        "input_shape",
        "ids_out_of_range",
        "missing_hidden_activation",
        "saturating_hidden_activations",
        "relu_recurrent",
        "poor_initialization",
        "excessive_dropout",
        "frozen_model",
        "optimizer_settings",
        "mixed_precision_head",
        "unscaled_inputs",
        "unscaled_targets",
        "non_finite_data",
        "constant_features",
        "class_imbalance",
        "missing_class",
        "ordered_data",
        "validation_shift",
        "validation_overlap",
        "label_noise",
        "target_outliers",
        "input_outliers",
        "too_few_examples",
        "uninformative_inputs",
        "unmasked_padding",
    }
)


@dataclass(frozen=True)
class Twin:
    """A healthy case with one fault.

    Args:
        name: That of the healthy case, a slash, that of the fault.
        fault: Makes its recipe.
        what: The fault in words.
        also_right: Rules that name the same cause from another side.
        beside: Rules about configuration and data that rightly speak as well.
        symptoms: Rules that must speak as well, at any place.
        harm: How the harm shows, where a lower score does not.
    """

    name: str
    fault: Fault
    what: str
    also_right: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()
    harm: Proof | None = None


def before_training(rule: str, *twins: Twin) -> tuple[Case, ...]:
    """Twins whose root cause this rule must name, and `check_config` alone must find."""
    return tuple(_case(twin, rule, before=True) for twin in twins)


def in_training(rule: str, *twins: Twin) -> tuple[Case, ...]:
    """Twins whose root cause this rule must name, once they have been trained."""
    return tuple(_case(twin, rule, before=False) for twin in twins)


def _case(twin: Twin, rule: str, *, before: bool) -> Case:
    healthy = _HEALTHY[twin.name.rpartition("/")[0]]
    return Case(
        name=twin.name,
        title=f"{healthy.title}: {twin.what}",
        recipe=twin.fault(healthy.recipe),
        fault=twin.what,
        must_find=rule,
        also_right=twin.also_right,
        symptoms=twin.symptoms,
        must_not_find=_STATIC_RULES - {rule, *twin.also_right, *twin.beside, *twin.symptoms},
        found_before_training=before,
        healthy=healthy.name,
        inject=twin.fault,
        harm=twin.harm,
    )
