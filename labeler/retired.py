"""What Label Studio still has of classes that are none any more: choices, answers, and pre-labels.

It takes a page without a name that answers use. But then the page shows such an answer as if it were empty, whoever
opens it loses it at the next submit, and its own settings refuse to save. So these choices stay on the page, out of
sight, and a line beside an answer that says one tells what it counts as. Nobody's answers are rewritten there.
"""

from collections.abc import Callable, Collection, Iterable

from lxml import etree
from sqlalchemy import select, update

from db.faults import fault
from db.labels import record
from db.models import Annotation, AnnotationState, LabellingProject, LabellingTask, Run
from labeler.client import Server
from labeler.config import CONTROL, answers
from labeler.dataset import Dataset
from labeler.known import tombstone
from labeler.page import parsed

_MARK = "curate-former"
_NO_KEY = "ctrl+alt+shift+f19"
"""No keyboard has it. Without a key of its own, a choice is given the next free one, out of sight or not."""


def outdated(page: str, dataset: Dataset) -> bool:
    """Whether people can pick what is no class any more, or not what is one."""
    shown = {choice.get("value") for choice in _shown(parsed(page))}
    return any(name not in shown for name in dataset.classes) or any(_is_former(v, dataset) for v in shown)


def retire(page: str, dataset: Dataset, used: Collection[str]) -> str:
    """Give a page on which former names cannot be picked, and those that answers say, `used`, are kept out of sight."""
    root = parsed(page)
    old = [view for view in root.iter("View") if view.get("className") == _MARK]
    stale = [choice for choice in _shown(root) if _is_former(choice.get("value"), dataset)]
    kept = sorted(set(used) - set(answers(list(dataset.classes), {})) - _values(root, but=[*old, *stale]))
    if not (old or stale or kept):
        return page
    for element in (*old, *stale):
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)
    (control,) = (tag for tag in root.iter("Choices") if tag.get("name") == CONTROL)
    beside = control.getparent()
    hidden = etree.SubElement(control, "View", className=_MARK, style="display:none") if kept else None
    for name in kept:
        etree.SubElement(hidden, "Choice", value=name, hotkey=_NO_KEY)
        note = {"visibleWhen": "choice-selected", "whenTagName": CONTROL, "whenChoiceValue": name}
        seen = etree.SubElement(root if beside is None else beside, "View", className=_MARK, **note)
        now = dataset.name_now(name)
        told = f"counts as {now} now" if now is not None else "is no class any more: answer anew"
        etree.SubElement(seen, "Header", size="5", value=f"{name} {told}")
    return str(etree.tostring(root, encoding="unicode"))


def _shown(root: etree._Element) -> list[etree._Element]:
    """Choices that people can see."""
    return [
        choice
        for choice in root.iter("Choice")
        if not any(parent.get("className") == _MARK for parent in choice.iterancestors())
    ]


def _values(root: etree._Element, but: Iterable[etree._Element]) -> set[str]:
    gone = {choice for element in but for choice in element.iter("Choice")}
    return {str(choice.get("value")) for choice in root.iter("Choice") if choice not in gone}


def _is_former(value: str | None, dataset: Dataset) -> bool:
    """Whether a choice is a class's former name, or its name in another case."""
    return value is not None and value not in dataset.classes and dataset.class_id(value) is not None


def withdraw_prelabels(dataset: Dataset, server: Server, project: LabellingProject) -> None:
    """Take away pre-labels that name what is no class any more. The next push sends them as they count now."""
    with dataset.database.read() as session:
        runs = {run.name: run for run in session.scalars(select(Run))}
    for version in server.prediction_counts(project.number):
        run = runs.get(version)
        if run is None or set(run.classes) <= set(dataset.classes):
            continue
        server.delete_predictions(project.number, version)
        mine = (LabellingTask.project_id == project.id) & (LabellingTask.prelabelled_by_id == run.id)
        with dataset.database.write() as session:
            session.execute(update(LabellingTask).where(mine).values(prelabelled_by_id=None))


def dropped_answers(dataset: Dataset, project: LabellingProject) -> list[Annotation]:
    """Answers on the server that say a class which was removed with its labels."""
    query = select(Annotation).join(LabellingTask, LabellingTask.id == Annotation.task_id).order_by(Annotation.id)
    with dataset.database.read() as session:
        mine = (LabellingTask.project_id == project.id) & (Annotation.state == AnnotationState.DROPPED)
        return list(session.scalars(query.where(mine)))


def take_back(
    dataset: Dataset, server: Server, dropped: Iterable[Annotation], step: Callable[[], None] = lambda: None
) -> None:
    """Delete answers on the server, so that their tasks are open again there; `step` is told of each.

    They stay on record here, as they came. One that was changed there meanwhile is left to the next pull.
    """
    for annotation in dropped:
        number = int(annotation.key.rpartition(":")[2])
        if server.delete_annotation(number, unless_changed_since=annotation.answered_at):
            fault("dropped.deleted")
            with dataset.database.write() as session:
                record(session, [tombstone(annotation)])
        step()
