"""What can be wrong: one rule per file, found by being in this folder."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from lossdoctor.rules._rule import Findings, Rule, Threshold, threshold

__all__ = ["Findings", "Rule", "Threshold", "default_rules", "rule_classes", "threshold"]


@functools.cache
def rule_classes() -> dict[str, type[Rule]]:
    """All rules by slug, in alphabetical order.

    Raises:
        TypeError: If a file of this folder does not hold exactly the rule it is named for.
    """
    found: dict[str, type[Rule]] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        defined = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Rule)
            and value.__module__ == module.__name__
        ]
        if len(defined) != 1 or defined[0].slug() != module_info.name:
            names = [rule.__name__ for rule in defined]
            raise TypeError(
                f"lossdoctor/rules/{module_info.name}.py must define exactly one rule, whose class "
                f"name in snake case is '{module_info.name}'; it defines {names}."
            )
        found[module_info.name] = defined[0]
    return found


def default_rules() -> tuple[Rule, ...]:
    """One instance of every rule with its default thresholds."""
    return tuple(rule() for rule in rule_classes().values())
