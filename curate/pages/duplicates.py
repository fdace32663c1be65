"""The page of `curate dedup --review`: groups, the pairs that nearly are one, and what people said of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.dedup.standing import Group, standing
from curate.pages.page import Page, Section
from curate.pages.pictures import Picture, pictures
from curate.pages.thumbnails import Shown, Thumbnails, side_for
from curate.progress import QUIET, Progress
from curate.project import Project
from db.labels import keeper_labels
from db.models import PERSON, DuplicatePair

_MOST_PAIRS = 500
"""Pairs that a list shows: nobody looks at more at once, and those further down are less alike."""


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """What the page shows, and where it lies."""

    file: Path
    groups: int
    near_misses: int
    """All there are, also those that the page has no room for."""
    said: int
    """Pairs on which a person has decided."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an image is in its group: the pair that says so, with the keeper where there is one."""

    other: int
    score: float
    reason: str
    distance: int
    by_person: bool


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group; the keeper needs no evidence."""

    picture: Picture
    keeper: bool
    evidence: Evidence | None
    marked: bool


@dataclass(frozen=True, slots=True)
class GroupCard:
    """A group, its keeper first, then the least sure."""

    number: int
    members: Sequence[Member]
    conflict: str
    """What follows from labels that differ, if they do."""

    @property
    def pictures(self) -> Sequence[Picture]:
        """What is shown."""
        return [member.picture for member in self.members]

    @property
    def sure(self) -> float:
        """The lowest score of its members."""
        return min((m.evidence.score for m in self.members if m.evidence), default=0.0)

    @property
    def command(self) -> str:
        """What takes it apart."""
        return f"curate dedup --split {self.number}"


@dataclass(frozen=True, slots=True)
class PairCard:
    """Two images, and what was found or said of them."""

    pair: DuplicatePair
    pictures: Sequence[Picture]
    command: str
    """What says the contrary."""


Card = GroupCard | PairCard


@dataclass(frozen=True, slots=True)
class _Pairs:
    """A list of pairs: all there are, and as many of them as are shown."""

    total: int
    cards: Sequence[PairCard]


def write_duplicates(project: Project, path: Path, progress: Progress = QUIET) -> ReviewReport:
    """Write the page of the duplicates as they stand. Raises StoreError when `path` cannot be written."""
    with project.database.read() as session:
        report = standing(session)
        groups = _groups(session, report.groups)
        near = _pairs(session, _near_misses(session, report.groups), {})
        said = _pairs(session, _said(session), _group_of(report.groups))
    cards: list[Card] = [*groups, *near.cards, *said.cards]
    shown = sum(len(card.pictures) for card in cards)
    thumbnails = Thumbnails(project.store, side_for(shown))
    figures: list[tuple[str, int | str]] = [
        ("images", report.images),
        ("groups", len(groups)),
        ("stand behind a keeper", sum(len(card.members) - 1 for card in groups)),
        ("near misses", near.total),
        ("groups with labels that differ", sum(bool(card.conflict) for card in groups)),
    ]
    with progress.task("drawing the page", shown, "images") as task:

        def drawn(cards: Sequence[Card]) -> Iterator[tuple[Card, Shown]]:
            return thumbnails.along(cards, lambda card: card.pictures, task.advance)

        sections = [
            Section("groups", "Groups", _GROUPS, "groups.html", {"cards": drawn(groups)}, len(groups)),
            _section("near-misses", "Near misses", _NEAR, near, drawn(near.cards)),
            _section("said", "What people said", _SAID, said, drawn(said.cards)),
        ]
        title = f"Duplicates in {project.settings.dataset.name}"
        Page(title, _LEAD, sections, figures, "class, file name, source or number", commands=True).write(path)
    return ReviewReport(path, len(groups), near.total, said.total)


_LEAD = (
    "Images that are the same photograph. Of each group the keeper alone is labelled and trained on."
    " The commands work in the project's folder; what you say outlasts every later search."
)
_GROUPS = "The least sure first. Nothing is deleted: a group taken apart is made of single images again."
_NEAR = "Looked at, and found to be different photographs, but not by much. The most alike first."
_SAID = "No search changes these. The latest first, each with the command that says the contrary."


def _section(key: str, title: str, lead: str, pairs: _Pairs, drawn: Iterator[tuple[Card, Shown]]) -> Section:
    values = {"cards": drawn, "more": pairs.total - len(pairs.cards)}
    return Section(key, title, lead, "pairs.html", values, pairs.total)


def _groups(session: Session, groups: Sequence[Group]) -> list[GroupCard]:
    shown = pictures(session, (member.id for group in groups for member in group.members))
    home = _group_of(groups)
    links: dict[int, list[DuplicatePair]] = {}
    for pair in session.scalars(select(DuplicatePair).where(DuplicatePair.same)):
        if pair.low_id in home and home[pair.low_id] == home.get(pair.high_id):
            links.setdefault(pair.low_id, []).append(pair)
            links.setdefault(pair.high_id, []).append(pair)
    decided = {label.keeper_id for label in keeper_labels(session) if not label.conflict}
    cards = [_group(group, shown, links, decided=group.keeper in decided) for group in groups]
    return sorted(cards, key=lambda card: (card.sure, card.number))


def _group(
    group: Group, shown: Mapping[int, Picture], links: Mapping[int, list[DuplicatePair]], *, decided: bool
) -> GroupCard:
    members = []
    for member in group.members:
        own = links.get(member.id, [])
        keeper = member.id == group.keeper
        evidence = None if keeper else _evidence(member.id, group.keeper, own)
        members.append(Member(shown[member.id], keeper, evidence, any(pair.marked_id == member.id for pair in own)))
    members.sort(key=lambda m: (not m.keeper, m.evidence.score if m.evidence else 0.0, m.picture.id))
    return GroupCard(group.group, members, _conflict([m.picture for m in members], decided=decided))


def _evidence(number: int, keeper: int, pairs: Iterable[DuplicatePair]) -> Evidence | None:
    def rank(pair: DuplicatePair) -> tuple[bool, float]:
        return keeper in {pair.low_id, pair.high_id}, pair.score

    best = max(pairs, key=rank, default=None)
    if best is None:
        return None
    other = best.low_id + best.high_id - number
    return Evidence(other, best.score, best.reason, best.distance, best.verifier == PERSON)


def _conflict(members: Iterable[Picture], *, decided: bool) -> str:
    labels = sorted({picture.label for picture in members if picture.label})
    if len(labels) < 2 and not any(picture.disputed for picture in members):  # noqa: PLR2004 - two labels differ
        return ""
    named = f" ({', '.join(labels)})" if labels else ""
    if decided:
        return f"The labels of these copies differ{named}; what a person answered counts."
    return f"The labels of these copies differ{named}: the group is left out of the split until a person decides."


def _group_of(groups: Iterable[Group]) -> dict[int, int]:
    """Numbers of groups by image."""
    return {member.id: group.group for group in groups for member in group.members}


def _near_misses(session: Session, groups: Iterable[Group]) -> list[DuplicatePair]:
    """Pairs that nearly are one, the most alike first; of two groups no more than one, and none that a person settled.

    Joining any two of their images joins the groups.
    """
    home = _group_of(groups)

    def sides(pair: DuplicatePair) -> frozenset[int]:
        # An image without a group stands for itself, under a number that no group has.
        return frozenset(home.get(number, -number) for number in (pair.low_id, pair.high_id))

    apart = DuplicatePair.same.is_(False)
    settled = {sides(pair) for pair in session.scalars(select(DuplicatePair).where(apart, _BY_PERSON))}
    order = (DuplicatePair.score.desc(), DuplicatePair.low_id, DuplicatePair.high_id)
    found: dict[frozenset[int], DuplicatePair] = {}
    for pair in session.scalars(select(DuplicatePair).where(apart, ~_BY_PERSON).order_by(*order)):
        both = sides(pair)
        if len(both) > 1 and both not in settled:
            found.setdefault(both, pair)
    return list(found.values())


def _said(session: Session) -> list[DuplicatePair]:
    order = (DuplicatePair.found_at.desc(), DuplicatePair.low_id, DuplicatePair.high_id)
    return list(session.scalars(select(DuplicatePair).where(_BY_PERSON).order_by(*order)))


def _pairs(session: Session, pairs: Sequence[DuplicatePair], groups: Mapping[int, int]) -> _Pairs:
    chosen = pairs[:_MOST_PAIRS]
    shown = pictures(session, chain.from_iterable((pair.low_id, pair.high_id) for pair in chosen))
    cards = [PairCard(pair, (shown[pair.low_id], shown[pair.high_id]), _contrary(pair, groups)) for pair in chosen]
    return _Pairs(len(pairs), cards)


def _contrary(pair: DuplicatePair, groups: Mapping[int, int]) -> str:
    if pair.same:
        return f"curate dedup --split {groups[pair.low_id]}"
    return f"curate dedup --join {pair.low_id} {pair.high_id}"


_BY_PERSON = DuplicatePair.verifier == PERSON
