"""What people may say besides a class, and how several answers come to one label. Nothing here needs the database."""

from dataclasses import dataclass
from enum import StrEnum


class Other(StrEnum):
    """What else than a class a person can say of a picture. Each is an answer, and takes the image out of the queue."""

    NONE = "none_of_these"
    SEVERAL = "several"
    UNUSABLE = "unusable_picture"

    @property
    def caption(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ").capitalize()


class Rule(StrEnum):
    """How the answers of several people come to one label."""

    LATEST = "latest"
    MAJORITY = "majority"
    TRUSTED = "trusted"
    CROWDLAB = "crowdlab"


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """The rule, and what goes with it. Each is a key of `[labelling]`."""

    rule: Rule = Rule.LATEST
    trusted: tuple[str, ...] = ()
    """E-mail addresses of the people whose word counts before others', the most trusted first."""
    accepted_count: bool = False
    """Whether answers of a run that were taken unseen count as labels."""
