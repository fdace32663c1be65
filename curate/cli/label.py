"""Commands around Label Studio: label start, stop, status, push, pull, open; and prelabel."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli import label_copies, watching
from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command
from curate.cli.overview import Overview
from curate.cli.question import question

if TYPE_CHECKING:
    from curate.labelling import Labelling
    from curate.studio import Environment, Standing


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    label = typer.Typer(cls=Overview, help="Label Studio: the page where people label.", no_args_is_help=True)
    command(label, "start")(start)
    command(label, "stop")(stop)
    command(label, "status")(status)
    command(label, "push")(push)
    command(label, "pull")(pull)
    command(label, "open")(open_)
    label_copies.register(label)
    command(label, "accept")(accept)
    command(label, "review")(review)
    watching.register(label)
    app.add_typer(label, name="label")
    command(app, "prelabel")(prelabel)


def labelling(around: Surroundings) -> "Labelling":
    """Labelling of the project at hand, with what the environment says of it."""
    from curate import labelling as stage

    return stage.Labelling(around.project(), environment())


def environment() -> "Environment":
    """What labelling takes from the user's machine."""
    from curate.studio import Environment

    return Environment(cache(), os.environ.get("CURATE_LABEL_STUDIO_TOKEN", "").strip() or None)


def cache() -> Path:
    """Folder that all projects of this user share."""
    from platformdirs import user_cache_path

    given = os.environ.get("CURATE_CACHE")
    return Path(given) if given else user_cache_path("curate")


NAME = typer.Option("--project-name", metavar="NAME", help="A further Label Studio project, not the main one.")


def start(
    around: Surroundings,
    project_name: Annotated[str, NAME] = "",
    new_project: Annotated[
        bool, typer.Option("--new-project", help="Make a new project where the one before is gone or elsewhere.")
    ] = False,
    reset_page: Annotated[
        bool, typer.Option("--reset-page", help="Put curate's labelling page in place of one edited in Label Studio.")
    ] = False,
) -> Outcome:
    """Start a Label Studio for this project, and make the labelling project in it.

    The first time on a machine it is installed. With CURATE_LABEL_STUDIO_TOKEN set, the server at label_studio.url is
    used instead. With --project-name a further project is made beside the main one, for other people or hard pictures.
    """
    from curate.permission import Permission

    ask = None if around.json else question()
    desk = labelling(around)
    may = Permission(given=new_project, ask=ask)
    found = desk.start(around.progress, project_name, may, reset_page=reset_page)
    text = f"Label Studio runs at {found.url}, project {found.project}; `curate label open` opens it"
    for one in found.projects:
        if one.name:
            text += f"\n{one.name}: project {one.project}; `curate label push --project-name` sends pictures to it"
    return Outcome(_standing(found), text)


def stop(around: Surroundings) -> Outcome:
    """Stop this project's Label Studio. Its data stays."""
    desk = labelling(around)
    ran = desk.stop()
    found = desk.status()
    return Outcome(_standing(found), "stopped" if ran else "it was not running")


def _standing(found: "Standing") -> dict[str, Any]:
    from dataclasses import asdict

    data = {"url": found.url, "project": found.project, "running": found.running}
    return data | {"projects": [asdict(one) for one in found.projects]}


def status(
    around: Surroundings,
    show_token: Annotated[
        bool, typer.Option("--show-token", help="Show the Authorization header for its API.")
    ] = False,
) -> Outcome:
    """Say where Label Studio is, and whether it runs."""
    found = labelling(around).status(show_token=show_token)
    data = _standing(found) | {"tasks": found.tasks}
    text = f"{found.url}: {'running' if found.running else 'not running'}"
    text += f", project {found.project} with {found.tasks} tasks" if found.project else ", no project yet"
    for one in found.projects:
        if one.name:
            text += f"\n{one.name}: project {one.project} with {one.tasks} tasks"
    if found.authorization:
        data["authorization"] = found.authorization
        text += f"\nAuthorization: {found.authorization}"
    return Outcome(data, text)


def push(
    around: Surroundings,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many new tasks.")] = None,
    project_name: Annotated[str, NAME] = "",
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Also pictures that wait in another Label Studio project.")
    ] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Only pictures that somebody skipped in another project.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> Outcome:
    """Send every unlabelled image that is not there yet, and its pre-label."""
    from dataclasses import asdict

    from curate.handout import Which

    if overlap and skipped:
        raise typer.BadParameter("--overlap and --skipped exclude each other: skipped pictures wait elsewhere anyway")
    which = Which.ALL if overlap else Which.SKIPPED if skipped else Which.WAITING
    if dry_run:
        from curate.cli import show_plans
        from curate.foreseeing import foresee_push

        plan = foresee_push(labelling(around), limit, project_name, which)
        return Outcome(show_plans.push_data(plan), show_plans.push(plan))
    report = labelling(around).push(limit, project_name, which, around.progress)
    text = f"{report.created} tasks made, {report.prelabelled} pre-labels sent; {report.tasks} tasks in Label Studio"
    if report.found:
        text += f" ({report.found} found there whose making had not been confirmed)"
    return Outcome(asdict(report), text)


def pull(
    around: Surroundings,
    accept_deletions: Annotated[
        bool, typer.Option("--accept-deletions", help="Many tasks or answers were deleted in Label Studio on purpose.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Read every answer again, not only what changed since the last pull.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come in, and change nothing.")] = False,
) -> Outcome:
    """Take in what people have labelled, changed, skipped and deleted since the last time, in every project."""
    if dry_run:
        from curate.cli import show_plans
        from curate.foreseeing import foresee_pull

        plan = foresee_pull(labelling(around), full=full)
        return Outcome(show_plans.pull_data(plan), show_plans.pull(plan))
    report = labelling(around).pull(accept_deletions=accept_deletions, full=full, progress=around.progress)
    text = f"{report.created} new answers, {report.updated} changed"
    if report.tasks_gone:
        text += f"; {report.tasks_gone} tasks were deleted in Label Studio, their labels stay"
    if report.doubled:
        text += f"\n{report.doubled} pictures stand twice in Label Studio, with answers at both: delete one of each"
    for name in report.projects_gone:
        text += f"\nthe project {name!r} was deleted in Label Studio; its labels stay"
    for said, count in report.unusable.items():
        text += f"\n{count} answers name no class of this dataset: {said}"
    data = {
        "annotations": report.annotations,
        "created": report.created,
        "updated": report.updated,
        "deleted": report.deleted,
        "tasks_gone": report.tasks_gone,
        "doubled": report.doubled,
        "projects_gone": report.projects_gone,
        "unusable": report.unusable,
    }
    return Outcome(data, text, SOME_FAILED if report.unusable else 0)


def open_(around: Surroundings, project_name: Annotated[str, NAME] = "") -> Outcome:
    """Open the labelling page in the browser, signed in."""
    url = labelling(around).open(project_name)
    return Outcome({"url": url}, url)


def accept(
    around: Surroundings,
    precision: Annotated[
        float, typer.Option(min=0.5, max=1.0, metavar="P", help="Share of a class's answers that must be right.")
    ] = 0.99,
    check: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Share that people are to look at.")
    ] = 0.1,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Withdraw everything that was accepted instead.")] = False,
) -> Outcome:
    """Take a run at its word for unlabelled images, wherever it is right often enough on the held-out ones.

    Such answers are marked, and count as labels only if `labelling.accepted_count` says so. A person's answer outranks
    them.
    """
    from curate.cli import show_labelling
    from curate.people import accept as stage

    project = around.project()
    if undo:
        count = stage.take_back(project)
        return Outcome({"withdrawn": count}, f"{count} accepted answers withdrawn")
    report = stage.accept(project, precision, check, run, around.progress)
    return Outcome(show_labelling.accept_data(report), show_labelling.accepted(report))


def review(
    around: Surroundings,
    send: Annotated[
        bool, typer.Option("--send", help='Show them in Label Studio, in a view of their own named "Review".')
    ] = False,
) -> Outcome:
    """List images that somebody is to decide: people differ, or a check is due.

    Once they were sent, the next answer for such an image outranks all earlier ones.
    """
    from dataclasses import asdict

    from curate.cli import show_labelling
    from curate.people.review import review as ask

    desk = labelling(around)
    report = ask(desk.project, desk, send=send)
    return Outcome(asdict(report), show_labelling.review(report))


def prelabel(
    around: Surroundings,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
) -> Outcome:
    """Predict everything unlabelled, and show it in Label Studio, the least sure first."""
    from dataclasses import asdict

    from curate.prelabel import prelabel as run_all

    desk = labelling(around)
    report = run_all(desk.project, desk, run, around.progress)
    text = f"run {report.run}: {report.images} images predicted, {report.pushed} pre-labels sent to Label Studio"
    return Outcome(asdict(report), text)
