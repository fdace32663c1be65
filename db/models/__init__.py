"""Tables, as typed classes. A row of `images` is never deleted: what is forgotten stays as a tombstone."""

from db.answers import Other
from db.models.base import Base
from db.models.classes import ChangeKind, ClassChange
from db.models.crawling import Host, Search, SearchState
from db.models.images import (
    PERSON,
    Candidate,
    CandidateState,
    Class,
    DuplicateGroup,
    DuplicatePair,
    Image,
    ImageState,
    Layout,
    Quality,
    Said,
    Sighting,
)
from db.models.labelling import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    AnnotationState,
    Label,
    LabellingProject,
    LabellingTask,
    Prelabel,
    TaskState,
)
from db.models.learning import Prediction, Run, RunState, Side, Snapshot, SnapshotItem, SnapshotOutsider
from db.models.people import Annotator, Policy, Review, ReviewReason
from db.models.rounds import Round

__all__ = [
    "PERSON",
    "Annotation",
    "AnnotationOrigin",
    "AnnotationRevision",
    "AnnotationState",
    "Annotator",
    "Base",
    "Candidate",
    "CandidateState",
    "ChangeKind",
    "Class",
    "ClassChange",
    "DuplicateGroup",
    "DuplicatePair",
    "Host",
    "Image",
    "ImageState",
    "Label",
    "LabellingProject",
    "LabellingTask",
    "Layout",
    "Other",
    "Policy",
    "Prediction",
    "Prelabel",
    "Quality",
    "Review",
    "ReviewReason",
    "Round",
    "Run",
    "RunState",
    "Said",
    "Search",
    "SearchState",
    "Side",
    "Sighting",
    "Snapshot",
    "SnapshotItem",
    "SnapshotOutsider",
    "TaskState",
]
