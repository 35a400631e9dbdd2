"""Actuators: one module or package per platform, each implementing `pla.ports.Actuator`.

**How to add one.** Write `actuators/NAME.py` (or a package `actuators/NAME/`) with a function
`build(**options) -> Actuator` that raises `ActuatorError` for options it cannot use. Nothing is
registered anywhere: `load("NAME", ...)` imports the module, so that a platform's client library is
loaded only where the platform is used. Then give `tests/contract/test_actuator.py` a fixture
`NAME_platform` (its docstring says what it holds): the contract test finds the module by itself
and fails until the fixture is there.

A module is never named after the library it uses: run as a script, it would import itself.
Actuators do not know each other; they know `pla.ports` and `pla.core`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

from pla.ports import Actuator, ActuatorError


def names() -> tuple[str, ...]:
    """The platforms that `load` knows, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str, **options: Any) -> Actuator:
    """The actuator that `actuators.NAME.build(**options)` makes.

    Raises:
        ActuatorError: there is no such platform, a library it needs is not installed, or it
            cannot use the options.
    """
    if name not in names():
        raise ActuatorError(f"unknown platform {name!r}: known are {', '.join(names())}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise ActuatorError(
            f"platform {name!r} needs the Python module {error.name!r}: install its extra"
        ) from error
    return cast(Actuator, module.build(**options))
