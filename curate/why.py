"""`curate why`: the chain from the query that found an image to everything that happened to it since."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import lookup
from curate.chain import Address, Chain, Counted, Facts, Given, Group, Member, Place, Predicted, Revision, Seen, Task
from curate.project import Project
from db.errors import DatasetError
from db.labels import keeper_labels, said
from db.models import (
    Annotation,
    AnnotationRevision,
    Candidate,
    Class,
    DuplicatePair,
    Image,
    Label,
    LabellingProject,
    LabellingTask,
    Other,
    Prediction,
    Run,
    Sighting,
    Snapshot,
    SnapshotItem,
    SnapshotOutsider,
)


def why(project: Project, given: str) -> Chain:
    """Trace an image, or an address. Raises DatasetError for what is not here."""
    with project.database.read() as session:
        names = {row.id: row.name for row in session.scalars(select(Class))}
        if lookup.is_address(given):
            candidate = lookup.candidate_at(session, given)
            if candidate is None:
                raise DatasetError(f"nothing is known of {given}; no source has shown it")
            if candidate.image_id is None:
                return _refused(session, candidate, names)
        return _traced(session, lookup.find_image(session, given), names)


def _refused(session: Session, candidate: Candidate, names: Mapping[int, str]) -> Chain:
    query = select(Sighting).where(Sighting.candidate_id == candidate.id).order_by(Sighting.id)
    sightings = [_seen(sighting, names) for sighting in session.scalars(query)]
    return Chain(_address(candidate), None, sightings, None, [], None, [], [], [])


def _traced(session: Session, image: Image, names: Mapping[int, str]) -> Chain:
    return Chain(
        address=None,
        image=_facts(image, names),
        sightings=[_seen(sighting, names) for sighting in image.sightings],
        group=_group(session, image, names),
        annotations=_annotations(session, image, names),
        label=_label(session, image, names),
        splits=_splits(session, image),
        predictions=_predictions(session, image),
        tasks=_tasks(session, image),
    )


def _named(names: Mapping[int, str], class_id: int | None) -> str | None:
    return None if class_id is None else names[class_id]


def _address(candidate: Candidate) -> Address:
    return Address(
        url=candidate.address,
        state=candidate.state.value,
        reason=candidate.reason.value if candidate.reason else None,
        http_status=candidate.http_status,
        detail=candidate.detail,
        attempts=candidate.attempts,
        found_at=candidate.found_at,
        decided_at=candidate.decided_at,
    )


def _seen(sighting: Sighting, names: Mapping[int, str]) -> Seen:
    return Seen(
        source=sighting.source,
        query=sighting.query,
        collected_for=_named(names, sighting.class_id),
        seen_at=sighting.seen_at,
        name=sighting.name,
        page_url=sighting.page_url,
        title=sighting.title,
        creator=sighting.creator,
        creator_url=sighting.creator_url,
        licence=sighting.licence,
        licence_said=sighting.licence_said,
        licence_url=sighting.licence_url,
        attribution=sighting.attribution,
        address=_address(sighting.candidate),
    )


def _facts(image: Image, names: Mapping[int, str]) -> Facts:
    return Facts(
        id=image.id,
        sha256=image.sha256,
        path=f"images/{image.relative_path}",
        format=image.format,
        width=image.width,
        height=image.height,
        bytes=image.bytes,
        sharpness=round(image.sharpness, 3),
        phash=f"{image.phash % 2**64:016x}",
        state=image.state.value,
        state_reason=image.state_reason.value if image.state_reason else None,
        stored_at=image.stored_at,
        guess=_named(names, image.collected_for_id),
    )


def _group(session: Session, image: Image, names: Mapping[int, str]) -> Group | None:
    if image.group_id is None:
        return None
    query = select(Image.id, Image.is_keeper, Label.class_id, Label.other)
    query = query.outerjoin(Label, Label.image_id == Image.id)
    rows = session.execute(query.where(Image.group_id == image.group_id).order_by(Image.id)).all()
    mine = (DuplicatePair.low_id == image.id) | (DuplicatePair.high_id == image.id)
    pairs = select(DuplicatePair).where(mine, DuplicatePair.same)
    found = {p.low_id + p.high_id - image.id: (p.distance, round(p.score, 3), p.reason) for p in session.scalars(pairs)}
    keeper = next(number for number, is_keeper, _, _ in rows if is_keeper)
    counts = {label.keeper_id: said(label.class_id, label.other, names) for label in keeper_labels(session)}
    members = [
        Member(number, said(own, other, names), *found.get(number, (None, None, None)))
        for number, _, own, other in rows
    ]
    return Group(image.group_id, keeper, counts.get(keeper), members)


def _annotations(session: Session, image: Image, names: Mapping[int, str]) -> list[Given]:
    query = select(Annotation).where(Annotation.image_id == image.id).order_by(Annotation.id)
    return [
        Given(
            id=annotation.id,
            origin=annotation.origin.value,
            state=annotation.state.value,
            label=said(annotation.class_id, annotation.other, names),
            annotator=annotation.annotator,
            answered_at=annotation.answered_at,
            revisions=[_revision(revision, names) for revision in annotation.revisions],
        )
        for annotation in session.scalars(query)
    ]


def _revision(revision: AnnotationRevision, names: Mapping[int, str]) -> Revision:
    return Revision(
        number=revision.number,
        state=revision.state.value,
        label=said(revision.class_id, revision.other, names),
        annotator=revision.annotator,
        prelabel=revision.prelabel.value,
        lead_time=revision.lead_time,
        answered_at=revision.answered_at,
        recorded_at=revision.recorded_at,
    )


def _label(session: Session, image: Image, names: Mapping[int, str]) -> Counted | None:
    label = session.get(Label, image.id)
    if label is None:
        return None
    return Counted(
        said(label.class_id, label.other, names),
        label.conflict,
        label.origin.value,
        label.annotation_id,
        label.decided_at,
    )


def _splits(session: Session, image: Image) -> list[Place]:
    query = select(SnapshotItem, Snapshot).join(Snapshot).where(SnapshotItem.image_id == image.id)
    found = [
        Place(snapshot.id, snapshot.created_at, item.side.value, snapshot.classes[item.class_index])
        for item, snapshot in session.execute(query)
    ]
    of_none = select(SnapshotOutsider, Snapshot).join(Snapshot).where(SnapshotOutsider.image_id == image.id)
    found += [
        Place(snapshot.id, snapshot.created_at, item.side.value, Other.NONE.caption)
        for item, snapshot in session.execute(of_none)
    ]
    return sorted(found, key=lambda place: place.snapshot)


def _predictions(session: Session, image: Image) -> list[Predicted]:
    query = select(Prediction, Run).join(Run).where(Prediction.image_id == image.id)
    return [
        Predicted(run.name, run.classes[found.class_index], found.score, found.outside, found.predicted_at)
        for found, run in session.execute(query.order_by(Run.id))
    ]


def _tasks(session: Session, image: Image) -> list[Task]:
    query = select(LabellingTask, LabellingProject, Run.name).join(LabellingProject)
    query = query.outerjoin(Run, Run.id == LabellingTask.prelabelled_by_id).where(LabellingTask.image_id == image.id)
    return [
        Task(where.server, where.number, task.number, task.state.value, task.sent_at, run)
        for task, where, run in session.execute(query.order_by(LabellingTask.id))
    ]
