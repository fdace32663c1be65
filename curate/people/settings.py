"""`[labelling]` of `curate.toml`."""

from typing import Literal

from pydantic import Field, model_validator

from curate.section import Section
from db.answers import LabelPolicy, Rule


class LabellingSettings(Section):
    """How people label, and what counts of it."""

    policy: Literal["latest", "majority", "trusted", "crowdlab"] = "latest"
    """Whose answer counts where several people label one image. With `majority`, a tie counts as no label."""
    trusted: tuple[str, ...] = ()
    """E-mail addresses of the people whom the policy `trusted` believes before others, the most trusted first."""
    overlap: int = Field(default=1, ge=1, le=20)
    """How many people label an image that is to have several answers."""
    overlap_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the images that are to have so many answers; the others have one."""
    hidden: float = Field(default=0.05, ge=0, le=1)
    """Share of the images that are shown without a pre-label, to see whether pre-labels sway people."""
    accepted_count: bool = False
    """Whether a run's answers that `curate label accept` took unseen count as labels."""

    @model_validator(mode="after")
    def _somebody_to_trust(self) -> "LabellingSettings":
        if self.policy == "trusted" and not self.trusted:
            raise ValueError('the policy "trusted" needs somebody to trust: set labelling.trusted first')
        return self

    def label_policy(self) -> LabelPolicy:
        """Give what the database derives labels by."""
        return LabelPolicy(Rule(self.policy), self.trusted, self.accepted_count)
