"""Label Studio after a change of the classes: told at once where it can be reached, and else at the next push."""

from enum import StrEnum

from curate.labelling import Labelling
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.studio import Environment
from db.errors import LabelStudioError


class There(StrEnum):
    """What became of the project in Label Studio."""

    NONE = "none"
    FOLLOWED = "followed"
    LATER = "later"

    @property
    def told(self) -> str:
        """This in words; nothing where there is no project."""
        return {
            There.NONE: "",
            There.FOLLOWED: "the page in Label Studio shows them",
            There.LATER: "the page in Label Studio follows with the next `curate label start` or `push`",
        }[self]


def pull_first(desk: Labelling, progress: Progress = QUIET) -> None:
    """Take in what people have answered so far, where there is a server, so that no label is overlooked."""
    if desk.reachable() and desk.known():
        try:
            desk.pull()
        except LabelStudioError as error:
            progress.say(f"{error}; what was answered since the last pull is not among these")


def follow(project: Project, environment: Environment, progress: Progress = QUIET) -> There:
    """Let Label Studio follow. That it cannot be reached is no error: it is said, and made up for later."""
    desk = Labelling(project, environment)
    if not desk.known():
        return There.NONE
    if not desk.reachable():
        return There.LATER
    try:
        desk.follow_classes(progress)
    except LabelStudioError as error:
        progress.say(str(error))
        return There.LATER
    return There.FOLLOWED
