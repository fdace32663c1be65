"""What a chain of provenance holds: from the query that found an image to everything that happened to it since."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Address:
    """A file address, and what became of it. `reason` and what follows are empty where nothing went wrong."""

    url: str
    state: str
    reason: str | None
    http_status: int | None
    detail: str
    attempts: int
    found_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One sighting: who showed it, for which query and class, what was said of it, and what was fetched there."""

    source: str
    query: str
    collected_for: str | None
    seen_at: datetime
    name: str
    page_url: str
    title: str
    creator: str
    creator_url: str
    licence: str
    licence_said: str
    licence_url: str
    attribution: str
    address: Address


@dataclass(frozen=True, slots=True)
class Facts:
    """The image itself. `guess` is the class whose query found it first."""

    id: int
    sha256: str
    path: str
    format: str
    width: int
    height: int
    bytes: int
    sharpness: float
    phash: str
    state: str
    state_reason: str | None
    stored_at: datetime
    guess: str | None


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a group. `distance`, `score` and `reason` are of it and the image asked for, if they are a pair."""

    id: int
    label: str | None
    distance: int | None
    score: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same photograph, and the label that their keeper counts with; None if it has none."""

    id: int
    keeper: int
    label: str | None
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Revision:
    """An answer as it was at one time, and what the person did with the pre-label."""

    number: int
    state: str
    label: str | None
    annotator: str
    prelabel: str
    lead_time: float | None
    answered_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Given:
    """One answer of a person or an import as it stands, with its past."""

    id: int
    origin: str
    state: str
    label: str | None
    annotator: str
    answered_at: datetime
    revisions: list[Revision]


@dataclass(frozen=True, slots=True)
class Counted:
    """The image's own label. None, and a conflict, where answers differ and nothing decides."""

    label: str | None
    conflict: bool
    origin: str
    annotation: int
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is in a split."""

    snapshot: int
    created_at: datetime
    side: str
    label: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a run says of it."""

    run: str
    label: str
    score: float
    outside: bool
    predicted_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """Its task in a Label Studio project; `prelabel_of` is the run whose prediction is shown there."""

    server: str
    project: int
    task: int | None
    state: str
    sent_at: datetime
    prelabel_of: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """All that is known of an image; or, of an address that gave none, what it came to: then there is no image."""

    address: Address | None
    image: Facts | None
    sightings: list[Seen]
    group: Group | None
    annotations: list[Given]
    label: Counted | None
    splits: list[Place]
    predictions: list[Predicted]
    tasks: list[Task]
