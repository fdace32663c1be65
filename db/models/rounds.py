"""What a round of labelling and training was, beside its run: kept as the run ends, since labels change later."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base


class Round(Base):
    """One run and the labels that it learned from. Accuracy, split and times of the training are the run's own."""

    __tablename__ = "rounds"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    labels_until: Mapped[datetime]
    """When the labels were taken: when its split was frozen, or, of a further run on that, when the run began."""
    labelled: Mapped[int]
    """Keepers that had a class by then."""
    complete: Mapped[int]
    """Classes that had their target in the split."""
    learned: Mapped[int]
    """Images on the train side."""
    recall: Mapped[dict[str, Any]]
    """`right` and `images`: validation images of each class, in the run's order. Empty where nobody knows any more."""
    accepted: Mapped[int]
    """Pre-labels that people left as they were in this round, and all that were shown to them."""
    shown: Mapped[int]
    labelling_seconds: Mapped[float]
    """That people spent on its answers, by the page's clock."""
    waited_seconds: Mapped[float | None]
    """From the end of the training before, or from the first task, until its labels were taken."""
    strategy: Mapped[str]
    """By which its images were chosen; empty where nobody knows any more."""
