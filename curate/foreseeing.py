"""`--dry-run` of a push and a pull: what they would do, and nothing is done."""

from curate.handout import Which, wanted
from curate.labelling import Labelling
from labeler import foresee
from labeler.foresee import PullPlan, PushPlan
from labeler.projects import known_projects, the_project


def foresee_push(desk: Labelling, limit: int | None, name: str, which: Which) -> PushPlan:
    """Say what `Labelling.push` would do. Raises what it would raise."""
    dataset = desk.dataset()
    with desk.server() as server:
        project = the_project(dataset, server, name)
        others = [other for other in known_projects(dataset, server) if other.id != project.id]
        images = [choice.id for choice in wanted(desk.project, project, others, limit, which)]
        run, predictions = desk.shown(dataset)
        return foresee.foresee_push(dataset, server, project, images, run, predictions)


def foresee_pull(desk: Labelling, *, full: bool) -> PullPlan:
    """Say what `Labelling.pull` would bring from all projects."""
    dataset = desk.dataset()
    plan = PullPlan()
    with desk.server() as server:
        there = desk.there(dataset, server)
        for project in there:
            foresee.foresee_pull(dataset, server, project, plan, full=full)
    foresee.foresee_mended(dataset, there, plan)
    return plan
