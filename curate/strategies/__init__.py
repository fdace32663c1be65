"""The strategies there are: ways to choose what to label next. A new one is one new file, and one line here."""

from collections.abc import Mapping
from types import MappingProxyType

from curate.strategies import auto, badge, coreset, entropy, margin, typiclust, uniform
from curate.strategies.interface import Strategy
from db.errors import ConfigError

RANDOM = "random"
"""What the others are compared with."""

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        RANDOM: uniform.choose,
        "entropy": entropy.choose,
        "margin": margin.choose,
        "coreset": coreset.choose,
        "badge": badge.choose,
        "typiclust": typiclust.choose,
        "auto": auto.choose,
    }
)


def named(name: str) -> Strategy:
    """The strategy of that name. Raises ConfigError."""
    if name not in STRATEGIES:
        raise ConfigError(f"no strategy {name!r}; there is: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
