"""The strategies there are: ways to choose what to label next. A new one is one new file, and one line here.

Their names are here; what a strategy needs is imported once it is asked for.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from db.errors import ConfigError

if TYPE_CHECKING:
    from curate.strategies.interface import Strategy

RANDOM = "random"
"""What the others are compared with."""

STRATEGIES: Mapping[str, str] = MappingProxyType(
    {
        RANDOM: "uniform",
        "entropy": "entropy",
        "margin": "margin",
        "coreset": "coreset",
        "badge": "badge",
        "typiclust": "typiclust",
        "auto": "auto",
    }
)
"""The file of each: its `STRATEGY` is it."""


def checked(name: str) -> str:
    """Give the name of a strategy. Raises ValueError for one that is not there."""
    if name not in STRATEGIES:
        raise ValueError(f"no strategy {name!r}; there is: {', '.join(STRATEGIES)}")
    return name


def named(name: str) -> "Strategy":
    """The strategy of that name. Raises ConfigError."""
    try:
        file = STRATEGIES[checked(name)]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    found: Strategy = import_module(f"{__name__}.{file}").STRATEGY
    return found
