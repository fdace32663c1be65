"""`curate crawl`: found addresses add up, classes fill, and a crawl that was killed is gone on with."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import select

from curate.crawl import claims, fetch
from curate.crawl.crawl import CrawlOptions, crawl
from curate.crawl.interface import SourceError
from curate.crawl.ledger import Ledger, Result, Verdict
from curate.crawl.plan import targets
from curate.crawl.report import CrawlReport, Target
from curate.crawl.sources import Credentials, make
from curate.crawl.wire import NEVER
from curate.doctor import examine
from curate.ingest.intake import Intake
from curate.project import Project, open_project
from curate.status import status
from db.errors import ConfigError, DatasetError
from db.models import Candidate, CandidateState, Image, Sighting
from db.models.base import now
from db.reasons import Reason
from tests.conftest import Cli
from tests.pictures import jpeg
from tests.web import Answer, Web, serve


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds."""
    monkeypatch.setattr(fetch, "_FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def project(make_project: Callable[..., Project], web: Web) -> Project:
    """A project whose Openverse is on loopback."""
    return make_project(
        "Red",
        "Green",
        dataset__target="6",
        dataset__validation="2",
        crawl__allow_private_addresses="true",
        crawl__openverse__url=f'"{web.url}"',
        crawl__sources='["openverse"]',
    )


def work(web: Web, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a work
    """An Openverse work whose file is at `path`."""
    return {
        "id": path,
        "title": f"title of {path}",
        "url": web.url + path,
        "foreign_landing_url": f"https://museum.example{path}",
        "creator": "Ann",
        "creator_url": None,
        "license": "by-sa",
        "license_version": "4.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "attribution": "by Ann",
        "provider": "museum",
    } | more


def put_works(web: Web, by_query: dict[str, list[str]]) -> None:
    """Let Openverse have these files for these queries."""
    web.put_openverse(lambda query: [work(web, path) for path in by_query.get(query, [])])


def put_pictures(web: Web, *numbers: int) -> list[str]:
    """Pictures at `/<number>.jpg`; gives their paths."""
    for number in numbers:
        web.put(f"/{number}.jpg", jpeg(number))
    return [f"/{number}.jpg" for number in numbers]


def run(
    project: Project,
    *what: str,
    sources: tuple[str, ...] = ("openverse",),
    most: int | None = None,
    options: CrawlOptions = CrawlOptions(),  # noqa: B008 - frozen
) -> CrawlReport:
    """Crawl as the command does."""
    wanted = targets(project, what, sources, most, recheck=options.recheck)
    return crawl(project, wanted, [make(name, project.settings.crawl, Credentials()) for name in sources], options)


def test_images_are_stored_with_all_that_the_source_said(project: Project, web: Web) -> None:
    """Source, query, page, title, creator, licence and attribution are on record for an image."""
    put_works(web, {"Red": put_pictures(web, 1)})
    assert run(project, "red").stored == 1
    with project.database.read() as session:
        sighting = session.scalars(select(Sighting)).one()
        assert (sighting.source, sighting.query, sighting.name) == ("openverse", "Red", "1.jpg")
        assert sighting.page_url == "https://museum.example/1.jpg"
        assert (sighting.title, sighting.creator, sighting.creator_url) == ("title of /1.jpg", "Ann", "")
        assert (sighting.licence, sighting.licence_said, sighting.attribution) == (
            "CC-BY-SA-4.0",
            "by-sa 4.0",
            "by Ann",
        )
        assert sighting.extra["provider"] == "museum"
        assert sighting.image_id == session.scalars(select(Image.id)).one()
    assert status(project).classes["Red"].images == 1


def test_every_address_ends_in_one_count(project: Project, web: Web) -> None:
    """Found is stored + copies + known + failed, each failure with its reason, however often an address is shown."""
    paths = put_pictures(web, 1, 2)
    web.put("/copy.jpg", jpeg(1))
    web.put("/page.jpg", b"<html>", headers={"Content-Type": "image/jpeg"})
    web.put("/cut.jpg", jpeg(3)[:900])
    shown = [*paths, "/copy.jpg", "/page.jpg", "/cut.jpg", "/gone.jpg", paths[0]]
    web.put_openverse(lambda _query: [work(web, path) for path in shown] + [work(web, "/x", url="file:///etc/passwd")])
    report = run(project, "red", most=20)
    assert (report.stored, report.duplicates, report.known) == (2, 1, 0)
    assert dict(report.failed) == {"not_an_image": 1, "corrupt": 1, "http_4xx": 1, "scheme_not_allowed": 1}
    assert report.found == 7
    again = run(project, "red", most=20)
    assert (again.found, again.known, again.stored) == (7, 7, 0)
    assert web.asked["/1.jpg"] == web.asked["/gone.jpg"] == 1


def test_passing_failures_are_tried_again_by_a_later_run(project: Project, web: Web) -> None:
    """What failed for the network's fault is not known but open; what failed for good is not asked again."""
    put_works(web, {"Red": ["/1.jpg"]})
    web.put("/1.jpg", b"", status=500)
    assert dict(run(project, "red").failed) == {"http_5xx": 1}
    put_pictures(web, 1)
    assert run(project, "red").stored == 1


def test_a_bad_certificate_does_not_lose_the_host(project: Project, web: Web, tmp_path: Path) -> None:
    """Where TLS fails the addresses stay open, those too that were never asked for because others had failed."""
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{web.url.replace('http', 'https')}/{n}.jpg\n" for n in range(14)))
    for _ in range(2):
        assert dict(run(project, sources=(f"urls={file}",)).failed) == {"tls_failure": 14}


def test_a_class_is_filled_to_its_target_and_no_further(project: Project, web: Web) -> None:
    """Failures do not count, and not one image more than wanted is stored; the rest waits for another time."""
    paths = put_pictures(web, *range(1, 13))
    put_works(web, {"Red": ["/gone1.jpg", *paths[:4], "/gone2.jpg", *paths[4:]]})
    report = run(project, "red")
    assert (report.stored, report.targets["Red"].full) == (6, True)
    assert status(project).classes["Red"].images == 6
    assert report.found == 6 + report.failed.total()
    again = run(project, "red")
    assert (again.found, again.targets["Red"].full) == (0, True)
    assert run(project, "red", most=2).stored == 2


def test_without_a_name_every_short_class_is_filled(project: Project, web: Web) -> None:
    """Classes that have their target are left out."""
    put_works(web, {"Red": put_pictures(web, *range(6)), "Green": put_pictures(web, *range(10, 13))})
    report = run(project)
    assert {name: t.stored for name, t in report.targets.items()} == {"Red": 6, "Green": 3}
    assert not report.targets["Green"].full
    assert list(run(project).targets) == ["Green"]


def test_what_waits_is_counted_once(project: Project, web: Web) -> None:
    """What one class had enough without, and the next one found too, waits at the end as often as it is there."""
    paths = put_pictures(web, *range(1, 21))
    put_works(web, {"Red": paths, "Green": paths})
    report = run(project, "red", "green")
    assert (report.stored, report.waiting) == (12, 8)


def test_a_source_that_is_named_twice_is_asked_once(project: Project, web: Web) -> None:
    """No page is taken for one without news because it was asked for twice at once."""
    put_works(web, {"Red": put_pictures(web, *range(1, 26))})
    report = run(project, "red", most=25, sources=("openverse", "openverse"))
    assert (report.stored, web.asked["/v1/images/"]) == (25, 2)


def test_a_free_query_belongs_to_no_class(project: Project, web: Web) -> None:
    """Images of a query that names no class are collected for none."""
    put_works(web, {"blue guitar": put_pictures(web, 1)})
    assert run(project, "blue guitar").stored == 1
    assert status(project).unlabelled == 1
    assert status(project).classes["Red"].images == 0


def test_pages_are_asked_for_until_there_is_enough(project: Project, web: Web) -> None:
    """The second page is asked for when the first does not suffice, and the third is not."""
    paths = put_pictures(web, *range(20, 26))
    put_works(
        web, {"Red": [f"/gone{n}.jpg" for n in range(18)] + paths[:2] + paths[2:] + [f"/more{n}" for n in range(30)]}
    )
    assert run(project, "red").stored == 6
    assert web.asked["/v1/images/"] == 2


def test_a_source_that_fails_is_told_and_others_go_on(project: Project, web: Web) -> None:
    """An API that answers in another form is named as changed; nothing raises."""
    web.put("/v1/images/", b'{"hello": "world"}')
    report = run(project, "red")
    ((source, query, refusal),) = report.problems
    assert (source, query, refusal.reason) == ("openverse", "Red", Reason.SOURCE_CHANGED)
    web.put("/v1/images/", b"", status=401)
    assert run(project, "red").problems[0][2].reason is Reason.HTTP_4XX


def test_a_list_of_addresses_is_fetched(project: Project, web: Web, tmp_path: Path) -> None:
    """A file of addresses, with blank lines and comments, fills a class or none."""
    paths = put_pictures(web, 1, 2, 3)
    file = tmp_path / "list.txt"
    file.write_text("# mine\n\n" + "".join(f"{web.url}{path}\n" for path in paths) + "not an address\n")
    report = run(project, "green", sources=(f"urls={file}",))
    assert (report.stored, dict(report.failed)) == (3, {"scheme_not_allowed": 1})
    assert status(project).classes["Green"].images == 3
    assert run(project, sources=(f"urls={file}",)).known == 4


def test_a_list_begins_anew_for_somebody_else(project: Project, web: Web, tmp_path: Path) -> None:
    """What was left of it for no class, in the middle, goes to the class that it is named for next."""
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{web.url}{path}\n" for path in put_pictures(web, *range(1, 4))) + "x\n" * 200)
    first = run(project, sources=(f"urls={file}",), most=1)
    assert (first.stored, first.waiting) == (1, 3)
    report = run(project, "green", sources=(f"urls={file}",))
    assert (report.stored, report.known, dict(report.failed)) == (2, 1, {"scheme_not_allowed": 1})


def test_a_folder_is_a_source(project: Project, tmp_path: Path) -> None:
    """Files of a folder are taken; the same file from the web is only fetched, never read."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    report = run(project, "red", sources=(f"folder={folder}",))
    assert report.stored == 1
    listed = tmp_path / "list.txt"
    listed.write_text((folder / "b.jpg").as_uri() + "\n")
    (folder / "b.jpg").write_bytes(jpeg(2))
    assert dict(run(project, sources=(f"urls={listed}",)).failed) == {"scheme_not_allowed": 1}


@pytest.mark.parametrize("kind", ["urls", "folder"])
def test_a_list_may_have_any_name(project: Project, tmp_path: Path, kind: str) -> None:
    """A file and a folder whose names are no text are read as any other."""
    folder = tmp_path / "d\udcff"
    folder.mkdir()
    listed = folder / "list\udcff.txt"
    listed.write_text("x\n")
    report = run(project, sources=(f"{kind}={listed if kind == 'urls' else folder}",))
    assert report.failed.total() == 1
    (name,) = report.targets
    assert name.encode().decode() == name


def test_a_site_is_walked_within_its_host(project: Project, web: Web) -> None:
    """Relative, lazy and largest pictures are found on every page of the host, and no page outside it is asked for."""
    put_pictures(web, 1, 2, 3, 4)
    with serve() as elsewhere:
        html = {"Content-Type": "text/html; charset=utf-8"}
        web.put(
            "/",
            f"""<a href="sub/page.html#top">in</a> <a href="{elsewhere.url}/?{web.url}">out</a> <a href="mailto:x">x</a>
            <img src="1.jpg"><img src="tiny.gif" data-src="/2.jpg">""".encode(),
            headers=html,
        )
        web.put("/sub/page.html", b"""<img srcset="../0.jpg 1x, ../3.jpg 2x"><a href="/4.jpg">big</a>""", headers=html)
        web.put("/robots.txt", b"User-agent: *\nDisallow: /hidden")
        report = run(project, sources=(f"site={web.url}/",))
        assert elsewhere.asked.total() == 0
    assert report.stored == 4
    with project.database.read() as session:
        pages = {s.page_url for s in session.scalars(select(Sighting))}
    assert pages == {web.url + "/", web.url + "/sub/page.html"}


def test_a_site_that_cannot_be_read_is_told(project: Project, web: Web) -> None:
    """The first page must answer; others may not."""
    report = run(project, sources=(f"site={web.url}/nothing",))
    assert report.problems[0][2].reason is Reason.HTTP_4XX


@pytest.mark.parametrize(
    ("what", "sources", "error"),
    [
        (("red",), ("site=http://a", "openverse"), ConfigError),
        (("red", "green"), ("site=http://a",), ConfigError),
        (("blue guitar",), ("site=http://a",), DatasetError),
        ((" ",), ("openverse",), ConfigError),
        (("red",), (), ConfigError),
        (("\udcff",), ("openverse",), ConfigError),
    ],
)
def test_requests_without_sense_are_refused(
    project: Project, what: tuple[str, ...], sources: tuple[str, ...], error: type[Exception]
) -> None:
    """A list is read once, for one class or none; a query has words, and somebody to answer it."""
    with pytest.raises(error):
        targets(project, what, sources, None)


@pytest.mark.parametrize("name", ["nosuch", "site=", "urls=/no/such/file", "folder=/no/such/folder"])
def test_an_unknown_source_is_refused(project: Project, name: str) -> None:
    """A source that is not there, or whose file is not, is told before any work."""
    with pytest.raises(ConfigError):
        make(name, project.settings.crawl, Credentials())


def test_two_crawls_at_once_fetch_each_address_once(project: Project, web: Web) -> None:
    """Both end, every image is stored once, and no file is asked for twice."""
    put_works(web, {"Red": put_pictures(web, *range(30))})
    reports: list[CrawlReport] = []

    def work_beside() -> None:
        other = open_project(project.root)
        reports.append(run(other, "red", most=30))
        other.database.close()

    threads = [threading.Thread(target=work_beside) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.stored for report in reports) == 30
    assert all(web.asked[f"/{n}.jpg"] == 1 for n in range(30))


def test_what_another_crawl_lets_go_of_is_counted_once(project: Project, web: Web) -> None:
    """An address that somebody else was at when it was found, and left, is fetched, and is not known as well."""
    put_works(web, {"Red": put_pictures(web, 1, 2)})
    owner = f"{socket.gethostname()}/{os.getppid()}/x"
    with project.database.write() as session:
        lease = now() + timedelta(seconds=60)
        held = Candidate(address=f"{web.url}/1.jpg", host=web.url, target="class:1", state=CandidateState.CLAIMED)
        held.owner, held.lease_until = owner, lease
        session.add(held)

    def let_go(_query: str) -> tuple[int, dict[str, str], bytes]:
        with project.database.write() as session:
            claims.release(session, owner)
        return 200, {}, jpeg(2)

    web.pages["/2.jpg"] = Answer(compute=let_go)
    report = run(project, "red")
    assert (report.stored, report.known, report.found) == (2, 0, 2)


def claimed(project: Project, owner: str, lease: timedelta) -> bool:
    """Whether a candidate claimed by `owner` is left alone."""
    with project.database.write() as session:
        row = Candidate(address="http://x/1", state=CandidateState.CLAIMED, owner=owner, lease_until=now() + lease)
        session.add(row)
        session.flush()
        claims.release_stale(session)
        return row.owner == owner


@pytest.mark.parametrize(
    ("owner", "lease", "left_alone"),
    [
        (f"{socket.gethostname()}/{os.getppid()}/x", timedelta(seconds=60), True),
        (f"{socket.gethostname()}/{os.getpid()}/x", timedelta(seconds=60), False),
        (f"{socket.gethostname()}/{2**22 + 1}/x", timedelta(seconds=60), False),
        ("elsewhere/1/x", timedelta(seconds=60), True),
        ("elsewhere/1/x", timedelta(seconds=-1), False),
    ],
    ids=[
        "alive",
        "our own number",
        "dead",
        "elsewhere",
        "elsewhere too long",
    ],  # not by number: each worker has its own
)
def test_only_dead_processes_lose_their_claims(
    project: Project, owner: str, lease: timedelta, left_alone: bool
) -> None:
    """On this machine death counts at once, of other machines the lease must run out."""
    assert claimed(project, owner, lease) is left_alone


FILE_POINTS = ["file.written:1", "file.synced:4", "file.renamed:4", "images.stored"]
COMMITS = ["commit.after:1", "commit.after:2", "commit.before:3", "commit.after:3", "commit.after:4"]
"""Taking stock, opening searches, a page of addresses, a claim."""


@pytest.mark.parametrize("point", [*FILE_POINTS, *COMMITS])
def test_a_killed_crawl_is_gone_on_with(cli: Cli, project: Project, web: Web, point: str) -> None:
    """After SIGKILL at a durable boundary the same command ends with everything stored once, and a content doctor."""
    put_works(web, {"Red": put_pictures(web, *range(6))})
    project.database.close()
    arguments = ("crawl", "red", "--project", project.root, "--json")
    killed = cli(*arguments, env={"CURATE_FAULT": point})
    assert killed.code == -9
    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    opened = open_project(project.root)
    assert status(opened).classes["Red"].images == len(list(opened.store.files())) == 6
    assert examine(opened, repair=False) == []
    opened.database.close()


def states(project: Project) -> set[CandidateState]:
    """How the addresses stand."""
    with project.database.read() as session:
        return set(session.scalars(select(Candidate.state)))


def test_an_interrupted_crawl_lets_go(project: Project, web: Web) -> None:
    """A crawl that is cancelled leaves no claim behind."""
    put_works(web, {"Red": put_pictures(web, *range(6))})
    for n in range(6):
        web.pages[f"/{n}.jpg"].delay = 0.3

    async def cancelled() -> None:
        from curate.crawl.crawl import _Crawl  # noqa: PLC0415 - to cancel it, the inside is needed
        from curate.progress import QUIET  # noqa: PLC0415

        running = asyncio.create_task(
            _Crawl(project, CrawlOptions(), QUIET).run(
                [Target("Red", "class:1", 1, ("Red",), 6)], [make("openverse", project.settings.crawl, Credentials())]
            )
        )
        while CandidateState.CLAIMED not in states(project):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert states(project) == {CandidateState.PENDING}


def test_what_was_let_go_of_leaves_no_file(project: Project) -> None:
    """An image whose address a crawl that was stopped, or is too late, no longer holds is not stored."""
    intake, data = Intake.of(project), jpeg(1)
    with project.database.write() as session:
        row = Candidate(address="http://x/1.jpg", state=CandidateState.PENDING)
        session.add(row)
        session.flush()
        work = claims.Work(row.id, row.address, "http://x:80", local=False, source="openverse", seen=NEVER)

    async def decide() -> Verdict:
        async with Ledger(project.database, "me", intake.keep) as ledger:
            return await ledger.decide(Result(work, intake.judge(data), NEVER, data))

    assert asyncio.run(decide()).state is None
    assert list(project.store.files()) == []


def test_a_crawl_that_waits_for_another_command_hears_an_interrupt(
    project: Project, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody else looks for duplicates, whose end a full class must wait for."""
    put_works(web, {"Red": put_pictures(web, 1)})
    held = FileLock(project.private / "dedup.lock", thread_local=False)

    async def interrupted() -> None:
        from curate.crawl.crawl import _Crawl  # noqa: PLC0415 - to cancel it, the inside is needed
        from curate.progress import QUIET  # noqa: PLC0415

        loop, waits = asyncio.get_running_loop(), asyncio.Event()

        def lock(_project: Project, _name: str) -> FileLock:
            loop.call_soon_threadsafe(waits.set)
            return FileLock(held.lock_file)

        monkeypatch.setattr(Project, "lock", lock)
        wanted = [Target("Red", "class:1", 1, ("Red",), 1)]
        finders = [make("openverse", project.settings.crawl, Credentials())]
        running = asyncio.create_task(_Crawl(project, CrawlOptions(), QUIET).run(wanted, finders))
        await waits.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with held:
        release = threading.Timer(5, held.release)  # else it would hang where it fails
        release.start()
        asyncio.run(interrupted())
        assert held.is_locked
        release.cancel()


def test_a_source_error_carries_its_reason() -> None:
    """What a source says of its failure is a refusal like any other."""
    from db.reasons import Refusal  # noqa: PLC0415 - here only

    assert str(SourceError(Refusal(Reason.HTTP_4XX, "Not found", 404))) == "http_4xx 404: Not found"
