"""What people read of single images, and its JSON: the story that `curate why` tells, and what `curate forget` did."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

if TYPE_CHECKING:
    from curate.chain import Address, Chain, Counted, Facts, Given, Group, Revision, Seen, Task
    from curate.forget import ForgetReport

_WAITING = "what Label Studio shows of it goes with the next `curate label push`"


def why_data(found: "Chain") -> dict[str, Any]:
    """The whole chain, moments as ISO 8601 has them."""
    return asdict(found, dict_factory=_plain)


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in pairs}


def why(found: "Chain") -> RenderableType:
    """One part after the other, each indented under its heading."""
    return Text("\n".join(_story(found)))


def _story(found: "Chain") -> Iterator[str]:
    if found.address is not None:
        yield f"{found.address.url}: {_became(found.address)}"
    if found.image is not None:
        yield from _image(found.image)
    yield from _part("seen", (line for sighting in found.sightings for line in _seen(sighting)))
    if found.image is None:
        return
    if found.group is not None:
        yield from _part("the same photograph", _group(found.group, found.image.id))
    yield from _part("answers", (line for given in found.annotations for line in _given(given)))
    yield f"label: {_label(found.label)}"
    yield from _part("splits", (f"split {p.snapshot}, {_day(p.created_at)}: {p.label}, {p.side}" for p in found.splits))
    outside = {True: ", the nearest; none of the classes", False: ""}
    yield from _part(
        "predictions", (f"run {p.run}: {p.label} at {p.score:.3f}{outside[p.outside]}" for p in found.predictions)
    )
    yield from _part("Label Studio", map(_task, found.tasks))


def _part(heading: str, lines: Iterator[str]) -> Iterator[str]:
    shown = [f"  {line}" for line in lines]
    yield f"{heading}:" if shown else f"{heading}: nothing"
    yield from shown


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _image(image: "Facts") -> Iterator[str]:
    yield f"image {image.id}: {image.path}"
    yield f"  {image.format}, {image.width} x {image.height} pixels, {image.bytes:,} bytes"
    yield f"  SHA-256 {image.sha256}"
    reason = f" ({image.state_reason})" if image.state_reason not in {None, image.state} else ""
    yield f"  {image.state.replace('_', ' ')}{reason}, first taken {_day(image.stored_at)}"
    if image.guess:
        yield f"  collected for {image.guess}: a guess, no label"


def _seen(seen: "Seen") -> Iterator[str]:
    asked = f" for {seen.query!r}" if seen.query else ""
    wanted = f" ({seen.collected_for})" if seen.collected_for else ""
    yield f"{_day(seen.seen_at)} by {seen.source}{asked}{wanted}"
    yield f"  file: {seen.address.url}"
    yield f"    {_became(seen.address)}"
    creator = " ".join(filter(None, (seen.creator, f"({seen.creator_url})" if seen.creator_url else "")))
    licence = " ".join(filter(None, (seen.licence or "unknown", seen.licence_url)))
    said = {
        "page": seen.page_url,
        "title": seen.title,
        "by": creator,
        "licence": licence + (f", in its words: {seen.licence_said}" if seen.licence_said else ""),
        "attribution": seen.attribution,
    }
    yield from (f"  {name}: {value}" for name, value in said.items() if value)


def _became(address: "Address") -> str:
    status = f" {address.http_status}" if address.http_status else ""
    detail = f": {address.detail}" if address.detail else ""
    reason = f", {address.reason}{status}{detail}" if address.reason else ""
    when = f", {_day(address.decided_at)}" if address.decided_at else f", found {_day(address.found_at)}"
    tries = f", asked for {address.attempts} times" if address.attempts > 1 else ""
    return f"{address.state}{reason}{when}{tries}"


def _group(group: "Group", image: int) -> Iterator[str]:
    yield f"group {group.id}: image {group.keeper} stands for it; it counts as {group.label or 'unlabelled'}"
    for member in group.members:
        near = (
            ""
            if member.score is None
            else f", {member.score:.0%} alike ({member.reason}; {member.distance} bits apart)"
        )
        this = ", this one" if member.id == image else ""
        yield f"  image {member.id}{this}: {member.label or 'no label of its own'}{near}"


def _given(given: "Given") -> Iterator[str]:
    who = f" by {given.annotator}" if given.annotator else ""
    yield f"{given.id}, {given.origin.replace('_', ' ')}{who}: {given.label or 'no class'}, {given.state}"
    yield from (f"  {_revision(revision)}" for revision in given.revisions)


def _revision(revision: "Revision") -> str:
    prelabel = "" if revision.prelabel == "none" else f", pre-label {revision.prelabel}"
    took = "" if revision.lead_time is None else f", in {revision.lead_time:.1f} s"
    said = f"{revision.label or 'no class'}, {revision.state}"
    return f"{revision.number}. {_day(revision.answered_at)}: {said}{prelabel}{took}"


def _label(label: "Counted | None") -> str:
    if label is None:
        return "none of its own"
    if label.conflict:
        return "none: answers differ, and nothing decides"
    return f"{label.label}, by answer {label.annotation} ({label.origin.replace('_', ' ')}), {_day(label.decided_at)}"


def _task(task: "Task") -> str:
    prelabel = f", pre-label of run {task.prelabel_of}" if task.prelabel_of else ""
    number = "not confirmed" if task.task is None else str(task.task)
    return f"task {number} in project {task.project} of {task.server}: {task.state}, {_day(task.sent_at)}{prelabel}"


def forgotten(report: "ForgetReport") -> RenderableType:
    """What is out, what stays and what is still to come."""
    lines = [f"image {image.id} ({image.sha256[:12]}) is forgotten" for image in report.removed]
    lines += [f"forgotten address: {address}" for address in report.addresses]
    if report.copies:
        numbers = ", ".join(map(str, report.copies))
        lines.append(f"near-duplicates stay: image {numbers}; look at them with `curate why`, forget them too")
    if report.label_studio == "waiting":
        lines.append(_WAITING)
    return Text("\n".join(lines))
