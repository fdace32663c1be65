"""What an earlier crawl left waiting: later ones keep to their own queries and terms."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from curate.crawl.crawl import CrawlOptions, crawl
from curate.crawl.plan import targets
from curate.crawl.report import CrawlReport
from curate.crawl.sources import Credentials, make
from curate.project import Project, open_project
from curate.rights import Policy
from db.models import Candidate, CandidateState, Image, Sighting
from db.reasons import Reason
from tests.pictures import jpeg
from tests.sources import commons_file, put_commons, put_openverse
from tests.test_quota import works
from tests.web import Answer, Web

UNKNOWN = {"license": "own words", "license_version": None, "license_url": None}


@pytest.fixture
def project(make_project: Callable[..., Project], web: Web) -> Project:
    """A project whose Openverse is on loopback."""
    return make_project(
        "Red",
        "Green",
        dataset__target="40",
        dataset__validation="1",
        crawl__allow_private_addresses="true",
        crawl__openverse__url=f'"{web.url}"',
        crawl__commons__url=f'"{web.url}/w/api.php"',
        crawl__commons__width="0",
    )


def run(project: Project, what: str, most: int, source: str = "openverse", policy: Policy = Policy.ANY) -> CrawlReport:
    finders = [make(source, project.settings.crawl, Credentials())]
    return crawl(project, targets(project, (what,), (source,), most), finders, CrawlOptions(policy))


def offered(web: Web, count: int, **more: Any) -> None:  # noqa: ANN401 - of a work
    """Let Openverse have so many works."""
    put_openverse(web, works(web, *(jpeg(n, (32, 32)) for n in range(count)), **more))


def test_what_waits_is_held_against_the_terms_of_the_crawl_that_takes_it(project: Project, web: Web) -> None:
    """Addresses of no known licence that a crawl for any left are refused by one for open, and wait for one for any."""
    offered(web, 12, **UNKNOWN)
    first = run(project, "guitar", 3)
    assert (first.stored, first.waiting) == (3, 9)
    found = run(project, "guitar", 9, policy=Policy.OPEN)
    assert (found.stored, found.failed["licence_refused"], found.waiting) == (0, 9, 0)
    assert found.found == found.known + found.failed.total()
    assert run(project, "guitar", 9, policy=Policy.OPEN).failed.total() == 0
    assert run(project, "guitar", 9).stored == 9


def test_a_source_that_says_nothing_does_not_undo_what_another_said(project: Project, web: Web) -> None:
    """An address that Openverse has under an open licence and a list under none may be used."""
    offered(web, 4)
    assert run(project, "guitar", 1, policy=Policy.OPEN).stored == 1
    listed = project.root / "list.txt"
    listed.write_text("".join(f"{web.url}/files/{n}.jpg\n" for n in range(6)))
    found = run(project, "red", 9, source=f"urls={listed}", policy=Policy.OPEN)
    assert (found.stored, dict(found.failed)) == (3, {"licence_refused": 2})


@pytest.mark.parametrize(("licence", "stored"), [("CC BY 4.0", 1), ("CC BY-NC 4.0", 0), ("", 1)])
def test_every_source_that_says_something_must_allow_it(project: Project, web: Web, licence: str, stored: int) -> None:
    """Of two licences that are known for one address, the stricter decides."""
    listed = project.root / "list.csv"
    listed.write_text(f"url,licence\n{web.url}/files/0.jpg,{licence}\n")
    offered(web, 1, license="by", license_version="4.0", license_url=None)
    run(project, "red", 9, source=f"urls={listed}", policy=Policy.COMMERCIAL)
    run(project, "guitar", 9, policy=Policy.COMMERCIAL)
    with project.database.read() as session:
        (row,) = session.scalars(select(Candidate))
        licences = set(session.scalars(select(Sighting.licence)))
    assert len(licences) == (1 if licence == "CC BY 4.0" else 2)
    assert row.state is (CandidateState.STORED if stored else CandidateState.FAILED)
    assert row.reason is (None if stored else Reason.LICENCE_REFUSED)


def test_what_is_refused_while_it_waits_is_no_news_of_yesterday(project: Project, web: Web) -> None:
    """An address that a second source names a stricter licence for is refused by this run, and counted so, once."""
    offered(web, 3, license="by", license_version="4.0", license_url=None)
    web.pages["/files/0.jpg"].status = 404
    put_commons(web, [commons_file(0, {"NonFree": "true"}, url=f"{web.url}/files/1.jpg")])

    def once_both_have_answered(_query: str) -> tuple[int, dict[str, str], bytes]:
        """Hold up the first file, and with it the others."""
        sources = select(func.count(Sighting.source.distinct()))
        for _ in range(500):
            with project.database.read() as session:
                if session.scalar(sources) == 2:
                    break
            time.sleep(0.01)
        return 200, {}, b""

    web.pages["/robots.txt"] = Answer(compute=once_both_have_answered)
    sources = ("openverse", "commons")
    finders = [make(name, project.settings.crawl, Credentials()) for name in sources]
    wanted = targets(project, ("jazzmaster",), sources, 1)
    found = crawl(project, wanted, finders, CrawlOptions(Policy.OPEN))
    assert (found.stored, found.known, dict(found.failed)) == (1, 0, {"http_4xx": 1, "licence_refused": 1})
    assert run(project, "jazzmaster", 1, policy=Policy.OPEN).known == 3


def test_a_query_that_was_taken_out_is_asked_no_more(project: Project, web: Web) -> None:
    """Nor is fetched what only it showed, until it is asked again."""
    offered(web, 30)
    use(project, "red ones")
    assert run(open_project(project.root), "Red", 5).stored == 5
    use(project, "vermilion")
    openverse = put_openverse(web, [])
    found = run(open_project(project.root), "Red", 60)
    assert {asked["q"] for asked in openverse.asked} == {"vermilion"}
    assert (found.stored, found.waiting) == (0, 0)
    offered(web, 30)
    use(project, "red ones")
    assert run(open_project(project.root), "Red", 60).stored == 25
    with project.database.read() as session:
        assert len(session.scalars(select(Image)).all()) == 30


def test_asking_again_takes_up_nothing_that_waits(project: Project, web: Web) -> None:
    """Neither what was found and never fetched, nor what only another query had shown."""
    offered(web, 12)
    assert run(project, "guitar", 3).waiting == 9
    wanted = targets(project, ("guitar",), ("openverse",), None, recheck=True)
    finders = [make("openverse", project.settings.crawl, Credentials())]
    found = crawl(project, wanted, finders, CrawlOptions(recheck=True))
    assert (found.known, found.stored, found.found, found.waiting) == (3, 0, 3, 0)


def use(project: Project, query: str) -> None:
    """Let the class Red be searched for by this alone."""
    file = project.root / "curate.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("queries")]
    at = lines.index('name = "Red"') + 1
    file.write_text("\n".join([*lines[:at], f'queries = ["{query}"]', *lines[at:]]) + "\n")
