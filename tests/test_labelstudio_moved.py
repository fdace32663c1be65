"""A Label Studio at another address: the same one goes on, another one is labelled in only if that is said."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from curate.people.voices import heard
from curate.permission import Permission
from db.errors import LabelStudioError
from db.models import Annotator, LabellingProject
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk, Studio
from tests.relay import Relay, relay
from tests.test_labelstudio_faults import at


@pytest.fixture
def moved(studio: Studio) -> Iterator[Relay]:
    """The shared server at another address."""
    with relay(studio.url) as found:
        yield found


def projects_there(studio: Studio) -> int:
    """How many projects the server has."""
    return int(studio.ask("GET", "/api/projects/", params={"page_size": 1})["count"])


def servers(desk: Desk) -> set[str]:
    """Where the dataset believes its projects and its people to be."""
    with desk.project.database.read() as session:
        return {s for column in (LabellingProject.server, Annotator.server) for s in session.scalars(select(column))}


@pytest.mark.parametrize("described", [True, False])
def test_the_same_server_goes_on(make_desk: MakeDesk, moved: Relay, cli: Cli, described: bool) -> None:
    """All projects and people are known as before, and no answer is missed; also where a person wrote a description."""
    desk = make_desk(4)
    desk.labelling.start(name="team")
    desk.labelling.push(3)
    desk.labelling.push(name="team")
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    desk.studio.annotate(desk.task(1), "Green")
    if not described:
        desk.studio.ask("PATCH", f"/api/projects/{desk.number}/", json={"description": "Guitars"})
    before, count = desk.labelling.status().projects, projects_there(desk.studio)
    again = at(desk, moved.url)
    with pytest.raises(LabelStudioError, match="make it with `curate label start`"):
        again.labelling.pull()
    ran = cli("label", "start", "--json", "--project", desk.root, env=desk.env, check=True)
    assert f"made at {desk.studio.url}, goes on at {moved.url}: it is the same Label Studio" in ran.err
    assert (again.labelling.status().projects, projects_there(desk.studio)) == (before, count)
    assert servers(again) == {moved.url}
    assert again.labelling.pull().created == 1
    assert sorted(again.labels().values()) == ["Green", "Red"]
    with again.project.database.read() as session:
        assert {person for said in heard(session).values() for person in said} == {"curate@localhost.localdomain"}
    assert again.labelling.push().created == 0
    assert "goes on" not in cli("label", "start", "--json", "--project", desk.root, env=desk.env, check=True).err
    again.project.database.close()


def test_another_server_is_used_only_if_that_is_said(make_desk: MakeDesk, moved: Relay, cli: Cli) -> None:
    """One that lacks the project gets a new one with `--new-project`; what was there before stays known."""
    desk = make_desk(2)
    desk.labelling.push()
    desk.studio.delete("projects", desk.number)
    again, count = at(desk, moved.url), projects_there(desk.studio)
    ran = cli("label", "start", "--json", "--project", desk.root, env=desk.env)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"the Label Studio at {moved.url} does not have project {desk.number}, in which" in ran.err
    assert "`curate label start --new-project`" in ran.err
    assert (projects_there(desk.studio), servers(again)) == (count, {desk.studio.url})
    again.labelling.start(may=Permission(given=True))
    assert (projects_there(desk.studio), servers(again)) == (count + 1, {desk.studio.url, moved.url})
    again.labelling.start()
    assert again.labelling.push().created == 2
    again.project.database.close()
