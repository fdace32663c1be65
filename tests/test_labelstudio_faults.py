"""Label Studio down, slow to answer, lying or hostile: told in one line, and nothing is lost, doubled or given away."""

import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from curate import project as projects
from curate.labelling import Labelling
from curate.studio import Environment
from db.errors import LabelStudioError
from labeler.client import Server
from tests.conftest import Cli, Ran
from tests.labelstudio import Desk, MakeDesk, Studio, set_url
from tests.relay import Relay, relay

SECRET = "5ec2e7" * 6 + "beef"


@pytest.fixture
def between(studio: Studio) -> Iterator[Relay]:
    """A relay before the shared server."""
    with relay(studio.url) as found:
        yield found


@pytest.fixture
def desk(make_desk: MakeDesk, between: Relay) -> Iterator[Desk]:
    """Four images, labelled through the relay."""
    made = make_desk(4, start=False)
    moved = at(made, between.url)
    moved.labelling.start()
    yield moved
    moved.project.database.close()


def at(desk: Desk, url: str, token: str | None = None) -> Desk:
    """The same dataset, with its server at another address, or another token for it."""
    set_url(desk.root, url)
    project = projects.open_project(desk.root)
    environment = Environment(desk.labelling.environment.cache, token or desk.studio.token)
    return Desk(project, Labelling(project, environment), desk.studio)


def failed(ran: Ran, *secrets: str) -> str:
    """The one line that a stopped command says; no secret is in it."""
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    for secret in secrets:
        assert secret not in ran.err
    return ran.err


@pytest.mark.parametrize("fault", ["lost", 503])
@pytest.mark.parametrize("what", ["/import", "/file-uploads"])
def test_a_push_that_broke_off_is_finished_by_the_next(desk: Desk, between: Relay, what: str, fault: str | int) -> None:
    """Whether a request or only its reply was lost, the next push makes what is missing and doubles nothing."""
    between.faults["*", what] = fault
    with pytest.raises(LabelStudioError, match=r"broke off|answered 50"):
        desk.labelling.push()
    between.faults.clear()
    assert desk.labelling.push().tasks == 4
    assert len({task["data"]["image_id"] for task in desk.remote()}) == len(desk.remote()) == 4
    uploads = desk.studio.ask("GET", f"/api/projects/{desk.number}/file-uploads", params={"all": "true"})
    assert len(uploads) == 4
    before = desk.counts()
    assert desk.labelling.push().created == 0
    assert desk.counts() == before


@pytest.mark.parametrize("fault", ["lost", 500])
def test_prelabels_whose_reply_was_lost_are_not_doubled(desk: Desk, between: Relay, fault: str | int) -> None:
    """The next push leaves one prediction a task."""
    desk.predict("run-1", *[(image, "Red", 0.5) for image in desk.images()])
    between.faults["POST", "/predictions"] = fault
    with pytest.raises(LabelStudioError):
        desk.labelling.push()
    between.faults.clear()
    desk.labelling.push()
    assert [len(task["predictions"]) for task in desk.remote()] == [1, 1, 1, 1]


@pytest.mark.parametrize("fault", ["lost", 500])
def test_a_pull_that_broke_off_is_finished_by_the_next(desk: Desk, between: Relay, fault: str | int) -> None:
    """Nothing is half taken in, and nothing is skipped the next time."""
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    between.faults["GET", "/api/tasks"] = fault
    with pytest.raises(LabelStudioError, match=r"broke off|answered 500"):
        desk.labelling.pull()
    assert desk.labels() == {}
    between.faults.clear()
    desk.labelling.pull()
    assert list(desk.labels().values()) == ["Red"]


def test_a_server_that_is_down_is_told_in_one_line(make_desk: MakeDesk, cli: Cli) -> None:
    """Every command names the address and what to do; once the server is back, they go on."""
    made = make_desk(2, start=False)
    with relay(made.studio.url) as up:
        desk = at(made, up.url)
        desk.labelling.start()
        desk.labelling.push(1)
        desk.studio.annotate(desk.task(), "Red")
    assert "is it up?" in failed(cli("label", "pull", "--project", made.root, env=made.env), made.studio.token)
    for command in (desk.labelling.start, desk.labelling.push, desk.labelling.pull, desk.labelling.open):
        with pytest.raises(LabelStudioError, match=f"no Label Studio answers at {up.url}"):
            command()
    assert desk.labelling.status().running is False
    with relay(made.studio.url, int(up.url.rpartition(":")[2])):
        assert desk.labelling.push().created == 1
        assert desk.labelling.pull().created == 1
    desk.project.database.close()


def test_lost_answers_to_a_start_make_no_mess(make_desk: MakeDesk, between: Relay) -> None:
    """A server that breaks off while the project is made is told; the next start ends with a project."""
    desk = at(make_desk(1, start=False), between.url)
    between.faults["POST", "/api/projects/"] = 500
    with pytest.raises(LabelStudioError, match="answered 500 out of order"):
        desk.labelling.start()
    between.faults.clear()
    assert desk.labelling.start().project is not None
    desk.project.database.close()


def personal(**claims: object) -> str:
    """A personal access token that no server gave out."""
    return jwt.encode({"token_type": "refresh", "user_id": 1, **claims}, "k" * 32)


TOKENS = {
    "unknown": SECRET,
    "expired": personal(exp=int(time.time()) - 5),
    "forged": personal(exp=int(time.time()) + 3600, jti="x"),
    "without an end": personal(),
    "two lines": f"{SECRET}\n{SECRET}",
    "not ASCII": f"{SECRET}\u00e9",
}


@pytest.mark.parametrize("kind", list(TOKENS))
def test_a_bad_token_is_told(make_desk: MakeDesk, kind: str) -> None:
    """Unknown, expired, forged or mangled: one line says what to change; no line, traceback or file has the token."""
    token = TOKENS[kind]
    made = make_desk(1, start=False)
    desk = at(made, made.studio.url, token)
    with pytest.raises(LabelStudioError, match=r"token.*(anew|again)") as told:
        desk.labelling.start()
    said = "".join(traceback.format_exception(told.value))
    assert token not in said
    assert SECRET not in said
    assert not [path for path in files(desk.root) if token.encode() in path.read_bytes()]
    desk.project.database.close()


def test_not_even_a_traceback_shows_a_token(make_desk: MakeDesk, cli: Cli) -> None:
    """A refused token is an exit code of 2, and `--debug` keeps it to itself too."""
    made = make_desk(1, start=False)
    env = {"CURATE_LABEL_STUDIO_TOKEN": SECRET}
    assert "refuses the token (401)" in failed(cli("label", "start", "--project", made.root, env=env), SECRET)
    debugged = cli("--debug", "label", "start", "--project", made.root, env=env)
    assert "Traceback" in debugged.err
    assert SECRET not in debugged.out + debugged.err


def files(root: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in root.rglob("*") if path.is_file()]


def test_no_object_shows_a_token(make_desk: MakeDesk) -> None:
    """What a log or a debugger prints of our objects holds no token."""
    desk = make_desk(1)
    standing = desk.labelling.status(show_token=True)
    assert standing.authorization == f"Token {desk.studio.token}"
    for thing in (desk.labelling.server(), desk.labelling.environment, standing):
        assert desk.studio.token not in repr(thing)


@pytest.mark.parametrize("kind", ["unknown", "forged"])
def test_a_redirect_to_another_host_gets_no_token(desk: Desk, between: Relay, kind: str) -> None:
    """A server that sends us elsewhere is refused, and elsewhere is not asked at all."""
    sent_on = at(desk, between.url, TOKENS[kind])
    with relay(desk.studio.url) as elsewhere:
        between.faults["*", ""] = elsewhere.url
        for command in (sent_on.labelling.start, sent_on.labelling.push, sent_on.labelling.pull):
            before = len(between.asked)
            with pytest.raises(LabelStudioError, match="not as a Label Studio"):
                command()
            assert len(between.asked) > before
        assert sent_on.labelling.status().running is False
        assert elsewhere.asked == []
    sent_on.project.database.close()


def test_another_program_at_the_address_is_recognised(between: Relay) -> None:
    """A web server that answers with pages is no Label Studio."""
    server = Server(url=f"{between.url}/user/login/?next=", token=SECRET, identity="x", local=False)
    with server, pytest.raises(LabelStudioError):
        server.check()


@pytest.mark.filterwarnings("ignore:The `parse_obj` method:DeprecationWarning")  # the SDK's own
def test_a_personal_access_token_works(make_desk: MakeDesk) -> None:
    """The token that Label Studio's own page gives out is taken too; once it is taken back, that is told."""
    made = make_desk(2, start=False)
    token = str(made.studio.ask("POST", "/api/token/")["token"])
    desk = at(made, made.studio.url, token)
    desk.labelling.start()
    assert desk.labelling.push().created == 2
    desk.studio.annotate(desk.task(), "Red")
    assert desk.labelling.pull().created == 1
    desk.studio.ask("POST", "/api/token/blacklist/", json={"refresh": token})
    with pytest.raises(LabelStudioError, match="refuses the token"):
        desk.labelling.pull()
    desk.project.database.close()
