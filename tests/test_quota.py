"""What fills a class, what a crawl goes on with, and what it says of it: `curate crawl` as a whole."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from sqlalchemy import select

from curate.crawl import line
from curate.crawl.account import account
from curate.crawl.crawl import CrawlOptions, crawl
from curate.crawl.plan import targets
from curate.crawl.report import CrawlReport
from curate.crawl.sources import Credentials, make
from curate.project import Project
from curate.rights import Policy
from curate.status import status
from db.models import Candidate, CandidateState, Image, Search, SearchState, Sighting
from db.reasons import Reason
from tests.conftest import Cli
from tests.pictures import encoded, jpeg, picture
from tests.sources import commons_file, openverse_work, put_commons, put_openverse
from tests.web import Web, serve

LARGE = (480, 360)


@pytest.fixture
def project(make_project: Callable[..., Project], web: Web) -> Project:
    """A project of two classes that want four images each, whose sources are on loopback."""
    return make_project(
        "Red",
        "Green",
        dataset__target="4",
        dataset__validation="1",
        crawl__allow_private_addresses="true",
        crawl__sources='["openverse"]',
        crawl__openverse__url=f'"{web.url}"',
        crawl__commons__url=f'"{web.url}/w/api.php"',
        crawl__commons__width="0",
    )


def run(
    project: Project,
    *what: str,
    most: int | None = None,
    sources: tuple[str, ...] = ("openverse",),
    **options: Any,  # noqa: ANN401 - fields of CrawlOptions
) -> CrawlReport:
    """Crawl as the command does."""
    chosen = CrawlOptions(**options)
    wanted = targets(project, what, sources, most, recheck=chosen.recheck)
    return crawl(project, wanted, [make(name, project.settings.crawl, Credentials()) for name in sources], chosen)


def works(web: Web, *files: bytes, first: int = 0, **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - of a work
    """Openverse works that have these files."""
    found = []
    for number, data in enumerate(files, first):
        found.append(openverse_work(number, url=web.put(f"/files/{number}.jpg", data), **more))
    return found


def test_near_duplicates_fill_no_class(project: Project, web: Web) -> None:
    """Where one of four is a smaller copy of another, a fifth is fetched; the report says how many were copies."""
    original = encoded(picture(1, LARGE), quality=92)
    copy = encoded(picture(1, LARGE).reduce(2), quality=85)
    put_openverse(web, works(web, original, copy, *(jpeg(n, LARGE) for n in range(2, 9))))
    found = run(project, "red").targets["Red"]
    assert (found.stored, found.near_duplicates, found.full) == (5, 1, True)
    assert status(project).classes["Red"].images == 4


def test_a_class_that_its_sources_cannot_fill_says_so(project: Project, web: Web) -> None:
    """Each source is told apart: one that has no more, one that stopped and why."""
    put_openverse(web, works(web, jpeg(1), jpeg(2)))
    found = run(project, "red", sources=("openverse", "commons"))
    target = found.targets["Red"]
    assert (target.stored, target.full) == (2, False)
    assert target.ended == {"openverse": "exhausted", "commons": "http_4xx"} or target.ended["commons"] == "more"
    assert [source for source, _, _ in found.problems] == ["commons"]


def test_several_sources_fill_a_class_together(project: Project, web: Web) -> None:
    """Images are counted for the source that showed them first."""
    put_openverse(web, works(web, jpeg(1), jpeg(2)))
    files = []
    for number in range(3, 5):
        file = commons_file(number)
        file["imageinfo"][0] |= {"url": web.put(f"/commons/{number}.jpg", jpeg(number))}
        files.append(file)
    put_commons(web, files)
    found = run(project, "jazzmaster", most=4, sources=("openverse", "commons")).targets["jazzmaster"]
    assert (found.stored, dict(found.by_source)) == (4, {"openverse": 2, "commons": 2})


def test_a_query_with_more_than_is_shown_is_read_to_its_end(project: Project, web: Web) -> None:
    """Of 260 works Openverse shows 240 at once; in slices the others are found, too, and none is fetched twice."""
    free = works(web, *(jpeg(n, (32, 32)) for n in range(200)), license="by")
    put_openverse(web, free + works(web, *(jpeg(n, (32, 32)) for n in range(200, 260)), first=200, license="cc0"))
    found = run(project, "guitar", most=300)
    assert (found.stored, found.targets["guitar"].full) == (260, False)
    assert all(web.asked[f"/files/{n}.jpg"] == 1 for n in range(260))


def test_a_crawl_goes_on_with_the_page_it_had_not_seen(project: Project, web: Web) -> None:
    """What stopped in the middle of an answer asks for no page again that it had read."""
    openverse = put_openverse(web, works(web, *(jpeg(n, (32, 32)) for n in range(60))))
    assert run(project, "guitar", most=15).stored == 15
    read = len(openverse.asked)
    assert run(project, "guitar", most=30).stored == 30
    pages = [asked["page"] for asked in openverse.asked]
    assert pages[:read] == ["1"]
    assert pages[read:] == ["2", "3"][: len(pages) - read]


def test_a_search_that_was_read_is_asked_for_news_only(project: Project, web: Web) -> None:
    """Its first page is asked again; where that shows nothing new the search is dropped, however long it is."""
    openverse = put_openverse(web, works(web, *(jpeg(n, (32, 32)) for n in range(50))))
    assert run(project, "guitar", most=99).stored == 50
    openverse.asked.clear()
    again = run(project, "guitar", most=99)
    assert [asked["page"] for asked in openverse.asked] == ["1"]
    assert (again.known, again.found) == (20, 20)
    with project.database.read() as session:
        assert session.scalars(select(Search.state)).all() == [SearchState.DROPPED]
    put_openverse(web, works(web, *(jpeg(n, (32, 32)) for n in range(100, 103)), first=100))
    assert run(project, "guitar", most=99).stored == 3


@pytest.mark.parametrize(("policy", "stored"), [(Policy.ANY, 3), (Policy.OPEN, 2), (Policy.COMMERCIAL, 1)])
def test_only_allowed_licences_are_fetched(project: Project, web: Web, policy: Policy, stored: int) -> None:
    """What may not be used is refused before its file is asked for, and taken once the terms allow it."""
    free = works(web, jpeg(1), license="by", license_version="4.0")
    unpaid = works(web, jpeg(2), first=1, license="by-nc", license_version="4.0", license_url=None)
    unknown = works(web, jpeg(3), first=2, license="own words", license_version=None, license_url=None)
    put_openverse(web, free + unpaid + unknown)
    found = run(project, "red", policy=policy)
    assert (found.stored, found.failed["licence_refused"], found.found) == (stored, 3 - stored, 3)
    assert sum(web.asked[f"/files/{n}.jpg"] for n in range(3)) == stored
    with project.database.read() as session:
        ids = set(session.scalars(select(Sighting.licence).where(Sighting.image_id.is_not(None))))
    assert ids == set(["CC-BY-4.0", "CC-BY-NC-4.0", ""][:stored])
    assert run(project, "red").stored == 3 - stored


def test_what_was_found_is_asked_again_on_demand(project: Project, web: Web) -> None:
    """Unchanged files stay as they are; a changed one is a new image, and the old one keeps its history."""
    listed = works(web, jpeg(1), jpeg(2))
    put_openverse(web, listed)
    web.pages["/files/0.jpg"].headers["ETag"] = '"1"'
    assert run(project, "red").stored == 2
    web.pages["/files/0.jpg"].status, web.pages["/files/0.jpg"].body = 304, b""
    web.put("/files/1.jpg", jpeg(9))
    again = run(project, "red", recheck=True)
    assert (again.known, again.stored, again.found) == (1, 1, 2)
    with project.database.read() as session:
        assert set(session.scalars(select(Candidate.state))) == {CandidateState.STORED}
        seen = [image_id for image_id in session.scalars(select(Sighting.image_id)) if image_id is not None]
        assert sorted(seen) == sorted(session.scalars(select(Image.id))) == [1, 2, 3]


def test_asking_again_in_vain_changes_nothing(project: Project, web: Web) -> None:
    """The same bytes, or none at all, leave an image and its address as they were; a failure is told."""
    put_openverse(web, works(web, jpeg(1), jpeg(2)))
    assert run(project, "red").stored == 2
    web.pages["/files/1.jpg"].status = 404
    again = run(project, "red", recheck=True)
    assert (again.known, dict(again.failed), again.found) == (1, {"http_4xx": 1}, 2)
    with project.database.read() as session:
        assert set(session.scalars(select(Candidate.state))) == {CandidateState.STORED}


def test_a_page_in_an_images_place_is_told_each_time(project: Project, web: Web) -> None:
    """What a server says of the version of a page does not stand for the image that was there."""
    put_openverse(web, works(web, jpeg(1)))
    assert run(project, "red").stored == 1

    def page(handler: BaseHTTPRequestHandler) -> None:
        same = handler.headers["If-None-Match"] == '"page"'
        handler.send_response(304 if same else 200)
        handler.send_header("ETag", '"page"')
        handler.send_header("Content-Length", "0" if same else "6")
        handler.end_headers()
        handler.wfile.write(b"" if same else b"<html>")

    web.put("/files/0.jpg", b"", script=page)
    for _ in range(2):
        assert dict(run(project, "red", recheck=True).failed) == {"not_an_image": 1}


def test_asking_again_puts_a_lost_file_back(project: Project, web: Web) -> None:
    """It is not asked whether it has changed, but asked for."""
    put_openverse(web, works(web, jpeg(1), jpeg(2)))
    for number in range(2):
        web.pages[f"/files/{number}.jpg"].headers["ETag"] = f'"{number}"'
    assert run(project, "red").stored == 2
    lost, kept = project.store.files()
    data = lost.read_bytes()
    lost.unlink()
    web.headers.clear()
    again = run(project, "red", recheck=True)
    assert (again.known, again.found) == (2, 2)
    assert (lost.read_bytes(), kept.exists()) == (data, True)
    assert sum("If-None-Match" in headers for headers in web.headers) == 1


def test_a_straggler_holds_no_class_up(project: Project, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one host takes its time, others fill the class; the slow file waits for another run."""
    monkeypatch.setattr(line, "STRAGGLER_SECONDS", 0.2)
    with serve() as slow:
        first = openverse_work(90, url=slow.put("/slow.jpg", jpeg(90), delay=5))
        put_openverse(web, [first, *works(web, *(jpeg(n) for n in range(6)))])
        found = run(project, "red")
    assert (found.stored, found.targets["Red"].full) == (4, True)
    with project.database.read() as session:
        states = dict(session.execute(select(Candidate.address, Candidate.state)).all())
    assert states[slow.url + "/slow.jpg"] is CandidateState.PENDING


def test_the_account_adds_up(project: Project, web: Web) -> None:
    """Each address is in one column of the row of its class and source."""
    listed = works(web, jpeg(1), jpeg(1), b"<html>", jpeg(2))
    gone = openverse_work(8, url=web.url + "/gone.jpg")
    hidden = openverse_work(9, url=web.put("/hidden.jpg", jpeg(3), headers={"X-Robots-Tag": "noai"}))
    put_openverse(web, [*listed, gone, hidden])
    run(project, "red")
    kept = account(project)
    (row,) = kept.rows
    assert (row.class_name, row.source) == ("Red", "openverse")
    assert (row.found, row.stored, row.duplicate, row.refused, row.failed, row.open) == (6, 2, 1, 1, 2, 0)
    assert kept.reasons == {"not_an_image": 1, "http_4xx": 1, "opted_out": 1}
    (query,) = kept.queries
    assert (query.source, query.query, query.shown, query.fresh, query.open) == ("openverse", "Red", 6, 6, False)


def test_the_command_shows_the_account_and_the_sources(cli: Cli, project: Project, web: Web) -> None:
    """`status --crawl` has a row, `doctor --sources` a line a source, and 1 where one answers in another form."""
    put_openverse(web, works(web, jpeg(1)))
    project.database.close()
    crawled = cli("crawl", "red", "--licence", "open", "--json", cwd=project.root, check=True).json
    assert crawled["targets"]["Red"]["ended"] == {"openverse": "exhausted"}
    shown = cli("status", "--crawl", cwd=project.root, check=True)
    assert "openverse" in shown.out
    assert "Red" in shown.out
    rows = cli("status", "--crawl", "--json", cwd=project.root, check=True).json["rows"]
    assert rows[0]["stored"] == rows[0]["found"] == 1
    well = cli("doctor", "--sources", "--json", cwd=project.root, check=True).json
    assert [source["source"] for source in well["sources"]] == ["openverse"]
    assert well["problems"] == []
    web.put("/v1/images/", b'{"hello": "world"}')
    changed = cli("doctor", "--sources", "--json", cwd=project.root)
    assert changed.code == 1
    assert changed.json["problems"][0]["reason"] == Reason.SOURCE_CHANGED.value
    put_openverse(web, [])
    empty = cli("doctor", "--sources", cwd=project.root)
    assert (empty.code, "source_changed" in empty.out) == (1, True)


def test_a_source_that_lacks_a_key_keeps_none_from_being_asked(cli: Cli, project: Project, web: Web) -> None:
    """It is told with what it lacks, beside the others."""
    put_openverse(web, works(web, jpeg(1)))
    project.database.close()
    cli("config", "crawl.sources", '["flickr", "openverse"]', cwd=project.root, check=True)
    found = cli("doctor", "--sources", "--json", cwd=project.root)
    assert found.code == 1
    assert {one["source"]: one["reason"] for one in found.json["sources"]} == {"openverse": "", "flickr": "unreadable"}
    assert "CURATE_FLICKR_KEY" in found.json["problems"][0]["detail"]


def test_the_doctor_leaves_alone_who_asked_for_it(cli: Cli, project: Project, web: Web) -> None:
    """A source that wants no question for an hour gets none, not even a small one; it is said why."""
    web.put("/v1/images/", b"", status=429, headers={"Retry-After": "3600"})
    run(project, "red")
    project.database.close()
    found = cli("doctor", "--sources", "--json", cwd=project.root)
    assert (found.code, found.json["problems"][0]["reason"]) == (1, Reason.RATE_LIMITED.value)
    assert web.asked["/v1/images/"] == 1
