"""Label Studio's side: projects, tasks, every annotation with its history, and the label that counts."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.answers import Other
from db.models.base import Base, ByValue, now


class LabellingProject(Base):
    """A Label Studio project that this dataset is labelled in."""

    __tablename__ = "labelling_projects"
    __table_args__ = (UniqueConstraint("server", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    server: Mapped[str]
    """What tells one server from another: `local:<uuid>` for one that curate started, else its address."""
    number: Mapped[int]
    name: Mapped[str] = mapped_column(default="")
    """Of a further project beside the main one, whose name is empty."""
    title: Mapped[str]
    config_sha256: Mapped[str]
    """Of the labelling configuration as it was last sent."""
    pulled_until: Mapped[datetime | None]
    """Newest change on the server that was taken in, by the server's clock."""
    gone_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class TaskState(StrEnum):
    """`sent` before the server has confirmed, `there` after, `gone` once it was deleted there."""

    SENT = "sent"
    THERE = "there"
    GONE = "gone"


class LabellingTask(Base):
    """One image in one project. Written before it is sent, so that a lost reply is noticed and not repeated."""

    __tablename__ = "labelling_tasks"
    __table_args__ = (UniqueConstraint("project_id", "image_id"), UniqueConstraint("project_id", "number"))

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("labelling_projects.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), index=True)
    number: Mapped[int | None]
    """The server's id of the task, once known."""
    state: Mapped[TaskState] = mapped_column(ByValue(TaskState), default=TaskState.SENT)
    data_url: Mapped[str]
    """What the task's `image` says: where the page finds the picture."""
    prelabelled_by_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    """The run whose prediction the server holds for this task."""
    prelabel_hidden: Mapped[bool] = mapped_column(default=False)
    """The prediction is kept from people, to see whether it sways them: the server holds its score alone."""
    control: Mapped[bool] = mapped_column(default=False)
    """Drawn at random, to tell what the strategy of the queue brings."""
    sent_at: Mapped[datetime] = mapped_column(default=now)


class AnnotationOrigin(StrEnum):
    """Who said so: a folder's name at import, a person in Label Studio, or a run whose answers are taken unseen."""

    IMPORT = "import"
    LABEL_STUDIO = "label_studio"
    ACCEPTED = "accepted"


class AnnotationState(StrEnum):
    """`skipped` is an answer, `deleted` a tombstone, `unusable` names no class of ours; only `active` can count.

    `dropped` names a class that was removed, whose labels were to go with it.
    """

    ACTIVE = "active"
    SKIPPED = "skipped"
    UNUSABLE = "unusable"
    DROPPED = "dropped"
    DELETED = "deleted"


class Prelabel(StrEnum):
    """What a person did with the prediction that was shown, or said where one was kept back."""

    NONE = "none"
    ACCEPTED = "accepted"
    CHANGED = "changed"
    HIDDEN_SAME = "hidden_same"
    HIDDEN_OTHER = "hidden_other"


class Annotation(Base):
    """One person's, or one import's, answer for one image, as it stands now. Its past is in the revisions.

    The last revision has what was said; `state` and `class_id` have what that counts as under the present classes.
    """

    __tablename__ = "annotations"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    """What makes it the same answer when it is seen again: project and server's id, or the imported file."""
    origin: Mapped[AnnotationOrigin] = mapped_column(ByValue(AnnotationOrigin))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), index=True)
    task_id: Mapped[int | None] = mapped_column(ForeignKey("labelling_tasks.id"), index=True)
    state: Mapped[AnnotationState] = mapped_column(ByValue(AnnotationState))
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    other: Mapped[Other | None] = mapped_column(ByValue(Other))
    """Instead of a class."""
    annotator: Mapped[str] = mapped_column(default="")
    """The person's number on the server; `Annotator` knows the name."""
    answered_at: Mapped[datetime]

    revisions: Mapped[list["AnnotationRevision"]] = relationship(
        back_populates="annotation", order_by="AnnotationRevision.number"
    )


class AnnotationRevision(Base):
    """An annotation as it was at one time. Revisions are only ever added."""

    __tablename__ = "annotation_revisions"
    __table_args__ = (UniqueConstraint("annotation_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    number: Mapped[int]
    state: Mapped[AnnotationState] = mapped_column(ByValue(AnnotationState))
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    other: Mapped[Other | None] = mapped_column(ByValue(Other))
    answer: Mapped[dict[str, Any]]
    """The answer as it came, so that nothing of it is lost where we understand only a part."""
    annotator: Mapped[str] = mapped_column(default="")
    prelabel: Mapped[Prelabel] = mapped_column(ByValue(Prelabel), default=Prelabel.NONE)
    lead_time: Mapped[float | None]
    """Seconds that the person took."""
    answered_at: Mapped[datetime]
    recorded_at: Mapped[datetime] = mapped_column(default=now)

    annotation: Mapped[Annotation] = relationship(back_populates="revisions")


class Label(Base):
    """The label that counts for an image, derived from its annotations by `db.labels`.

    A class, or what else people say of it, or a conflict: answers that differ, and nobody has decided.
    """

    __tablename__ = "labels"
    __table_args__ = (
        CheckConstraint("conflict = (class_id IS NULL AND other IS NULL)", name="decided_unless_conflict"),
        CheckConstraint("class_id IS NULL OR other IS NULL", name="one_decision"),
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"), index=True)
    other: Mapped[Other | None] = mapped_column(ByValue(Other))
    conflict: Mapped[bool] = mapped_column(default=False)
    origin: Mapped[AnnotationOrigin] = mapped_column(ByValue(AnnotationOrigin))
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    decided_at: Mapped[datetime]
