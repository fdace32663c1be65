"""What people read of `curate status --labelling`, and its JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.cli.rows import table_of

if TYPE_CHECKING:
    from curate.people.accept import AcceptReport
    from curate.people.account import LabellingAccount, Left, Person
    from curate.people.agreement import Alpha
    from curate.people.arms import Arms
    from curate.people.review import ReviewReport
    from curate.share import Share

_PAIRS = 10
_SHOWN = 30


def account_data(found: "LabellingAccount") -> dict[str, Any]:
    """All of it. A share is {`hits`, `of`, `value`, `low`, `high`}, an agreement {`images`, `alpha`, `low`, `high`}."""
    gap = found.prelabels.gap
    return {
        "tasks": found.tasks,
        "answered": found.answered,
        "skipped": found.skipped,
        "others": found.others,
        "people": [
            {"name": p.name, "answers": p.answers, "skipped": p.skipped, "seconds": p.seconds, "per_hour": p.per_hour}
            for p in found.people
        ],
        "prelabels": {
            "accepted": found.prelabels.accepted.as_dict(),
            "corrected": {name: share.as_dict() for name, share in found.prelabels.corrected.items()},
            "hidden": found.prelabels.hidden.as_dict(),
            "gap": None if gap is None else dict(zip(("value", "low", "high"), gap, strict=True)),
        },
        "agreement": {
            **_alpha(found.agreement.overall),
            "classes": {name: _alpha(alpha) for name, alpha in found.agreement.classes.items()},
            "pairs": [
                {"people": list(pair.people), "agree": pair.agree, **_alpha(pair.alpha)}
                for pair in found.agreement.pairs
            ],
        },
        "disputed": found.disputed,
        "spread": found.spread,
        "accepted": {"images": found.accepted, "checked": found.checked.as_dict()},
        "arms": None if found.arms is None else _arms_data(found.arms),
        "left": {
            "missing": found.left.missing,
            "useful": found.left.useful,
            "per_hour": found.left.per_hour,
            "hours": found.left.hours,
        },
    }


def _arms_data(found: "Arms") -> dict[str, Any]:
    both = {"control": found.control, "chosen": found.chosen}
    return {"run": found.run} | {
        name: {"answered": arm.answered, "accepted": arm.accepted.as_dict(), "right": arm.right.as_dict()}
        for name, arm in both.items()
    }


def _alpha(found: "Alpha") -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"images": found.images, "alpha": found.alpha, "low": low, "high": high}


def account(found: "LabellingAccount") -> RenderableType:
    """People, what pre-labels did to them, how far they agree, and what is left."""
    lines = [f"{found.tasks} tasks, {found.answered} answered, {found.skipped} skipped"]
    lines += [f"  {name.replace('_', ' ')}: {count}" for name, count in sorted(found.others.items())]
    parts: list[RenderableType] = [Text("\n".join(lines))]
    if found.people:
        parts += ["", _people(found.people)]
    parts += [
        "",
        Text(
            "\n".join([*_prelabels(found), *_agreement(found), *_free(found), *_arms(found.arms), *_left(found.left)])
        ),
    ]
    return Group(*parts)


def _people(people: "list[Person]") -> Table:
    figures = ("answers", "skipped", "seconds", "an hour")
    table = table_of("person", *figures, numbers=figures)
    for one in people:
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        speed = "" if one.per_hour is None else f"{one.per_hour:.0f}"
        table.add_row(Text(one.name), str(one.answers), str(one.skipped), seconds, speed)
    return table


def _prelabels(found: "LabellingAccount") -> Iterator[str]:
    prelabels = found.prelabels
    if not prelabels.accepted.of:
        yield "no pre-label was shown to anybody yet"
        return
    yield f"pre-labels left as they were: {_said(prelabels.accepted)}"
    worst = sorted(prelabels.corrected.items(), key=lambda item: -(item[1].value or 0))
    yield from (f"  corrected to {name}: {_said(share)}" for name, share in worst if share.hits)
    if prelabels.gap is not None:
        gap, low, high = prelabels.gap
        yield f"kept back, and people said the same: {_said(prelabels.hidden)}"
        sway = "they do sway people" if low > 0 else "no sign that they sway people"
        yield f"  difference {gap:+.3f} ({low:+.3f} to {high:+.3f}): {sway}"


def _agreement(found: "LabellingAccount") -> Iterator[str]:
    overall = found.agreement.overall
    if not overall.images:
        yield "no image has answers of two people yet"
        return
    yield f"people agree: {_measure(overall)} on {overall.images} images; {found.disputed} are in dispute"
    worst = sorted(found.agreement.classes.items(), key=lambda item: 2.0 if item[1].alpha is None else item[1].alpha)
    yield from (f"  {name}: {_measure(alpha)}" for name, alpha in worst)
    for pair in found.agreement.pairs[:_PAIRS]:
        same = f"the same {pair.agree} times of {pair.alpha.images}"
        yield f"  {pair.people[0]} and {pair.people[1]}: {same}, {_measure(pair.alpha)}"


def _free(found: "LabellingAccount") -> Iterator[str]:
    if found.spread:
        yield f"{found.spread} copies have their keeper's label"
    if found.accepted:
        yield f"{found.accepted} images are as a run says, accepted unseen"
        if found.checked.of:
            yield f"  people looked at some of these and said the same: {_said(found.checked)}"


def _arms(found: "Arms | None") -> Iterator[str]:
    if found is None:
        return
    for words, arm in (("drawn at random", found.control), ("chosen", found.chosen)):
        yield f"{words}: {arm.answered} images answered"
        if arm.accepted.of:
            yield f"  pre-labels left as they were: {_said(arm.accepted)}"
        if arm.right.of:
            yield f"  run {found.run} is right, on what it did not learn from: {_said(arm.right)}"


def _left(left: "Left") -> Iterator[str]:
    missing = sum(left.missing.values())
    if not missing:
        yield "every class has its target"
    elif left.hours is None:
        yield f"{missing} labels are missing; at what rate they come cannot be told yet"
    else:
        rate = f"{left.per_hour:.0f} answers an hour, {left.useful:.0%} of them for a class that lacks some"
        yield f"{missing} labels are missing: about {left.hours:.1f} hours of a person ({rate})"


def _said(share: "Share") -> str:
    low, high = share.interval
    return f"{share.hits} of {share.of}, {share.value:.3f} ({low:.3f} to {high:.3f})"


def _measure(found: "Alpha") -> str:
    if found.alpha is None:
        return "alpha cannot be told: all say the same"
    low, high = found.interval or (found.alpha, found.alpha)
    return f"alpha {found.alpha:.3f} ({low:.3f} to {high:.3f})"


def accept_data(report: "AcceptReport") -> dict[str, Any]:
    """What was accepted: `thresholds` are scores by class, null where no score is sure enough."""
    return {
        "run": report.run,
        "precision": report.precision,
        "thresholds": {name: limit.score for name, limit in report.thresholds.items()},
        "proved": {name: limit.lower for name, limit in report.thresholds.items()},
        "accepted": sum(report.accepted.values()),
        "classes": report.accepted,
        "to_check": report.to_check,
        "counted": report.counted,
    }


def accepted(report: "AcceptReport") -> RenderableType:
    """One row a class, then what comes of it."""
    table = table_of("class", "from score", "right, held out", "at least", "accepted", numbers=("accepted",))
    for name, limit in report.thresholds.items():
        count = str(report.accepted.get(name, 0))
        if limit.score is None:
            table.add_row(Text(name), "never sure enough", "", "", count)
        else:
            right = f"{limit.right} of {limit.images}"
            table.add_row(Text(name), f"{limit.score:.3f}", right, f"{limit.lower:.2f}", count)
    total = sum(report.accepted.values())
    lines = [f"{total} answers of run {report.run} accepted; people are asked to look at {report.to_check} of them"]
    if total and not report.counted:
        lines.append("they do not count as labels: `curate config labelling.accepted_count true` lets them")
    return Group(table, "", Text("\n".join(lines)))


def review(report: "ReviewReport") -> RenderableType:
    """Images to decide, with what is said of each."""
    table = table_of("image", "why", "answers", prose=("why", "answers"))
    for image in report.images[:_SHOWN]:
        answers = ", ".join(f"{person}: {label}" for person, label in image.answers.items())
        table.add_row(str(image.id), Text(": ".join(filter(None, (image.reason, image.detail)))), Text(answers))
    if not report.images:
        return Text("nothing waits for a decision")
    lines = [f"{len(report.images)} images wait for a decision"]
    if len(report.images) > _SHOWN:
        lines[0] += f", {_SHOWN} of them above (--json lists all)"
    if report.shown is None:
        lines.append("`curate label review --send` shows them in Label Studio")
    else:
        lines.append(f'{report.shown} are in the view "Review" of the project in Label Studio')
    return Group(table, "", Text("\n".join(lines)))
