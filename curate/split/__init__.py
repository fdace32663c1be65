"""`curate split`: which labelled images a run learns from, and which it is measured on.

The unit is the duplicate group, through its keeper, so copies cannot lie on both sides. An image that was held out once
is never learned from later, in whatever round: results of rounds stay comparable, and no label leaks.
"""

from curate.conflicts import Conflict, conflicts
from curate.split.choose import ClassSplit, Keeper, split_class
from curate.split.freeze import latest_snapshot, refuse_forgotten
from curate.split.leaving import Gone, Left
from curate.split.make import SplitReport, split

__all__ = [
    "ClassSplit",
    "Conflict",
    "Gone",
    "Keeper",
    "Left",
    "SplitReport",
    "conflicts",
    "latest_snapshot",
    "refuse_forgotten",
    "split",
    "split_class",
]
