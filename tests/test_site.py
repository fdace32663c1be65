"""A crawl of a whole site: what a page shows, where it leads, and what its owner does not want."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given as fuzz
from hypothesis import settings
from hypothesis import strategies as st

from curate.crawl import fetch
from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.settings import SiteSettings
from curate.crawl.sources.site import SiteFinder
from curate.crawl.wire import Body, Seen
from db.reasons import Reason, Refusal
from tests.engines import HTML, SETTINGS, answer
from tests.web import Web

SITE = "http://guitars.example/shop/list"


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds."""
    monkeypatch.setattr(fetch, "_FIRST_BACKOFF_SECONDS", 0.01)


class Canned(Fetcher):
    """Brings the same answer whatever is asked for."""

    def __init__(self, found: Body | Refusal) -> None:
        super().__init__(SETTINGS)
        self._found = found

    async def get(self, *_args: Any, **_more: Any) -> Body | Refusal:  # noqa: ANN401 - as the real one
        """Bring it."""
        return self._found


def read(
    markup: str | bytes | Refusal, depth: int = 0, url: str = SITE, max_depth: int = 4, **headers: str
) -> Page | Refusal:
    """What is made of a page of the site."""
    data = markup.encode() if isinstance(markup, str) else markup
    found = data if isinstance(data, Refusal) else Body(data, url, {k.replace("_", "-"): v for k, v in headers.items()})
    finder = SiteFinder(SITE, SiteSettings(max_depth=max_depth))
    try:
        return asyncio.run(finder.page(Question(SITE, SITE, str(depth)), Canned(found)))
    except SourceError as error:
        return error.refusal


def pictures(markup: str | bytes, **more: Any) -> list[str]:  # noqa: ANN401
    """The pictures on a page."""
    page = read(markup, **more)
    assert isinstance(page, Page), page
    return [offer.address for offer in page.offers]


def links(markup: str | bytes, **more: Any) -> list[str]:  # noqa: ANN401
    """The pages that a page leads to."""
    page = read(markup, **more)
    assert isinstance(page, Page), page
    return [question.part for question in page.more]


@pytest.mark.parametrize(
    ("markup", "picture"),
    [
        ("<img src=a.jpg>", "/shop/a.jpg"),
        ("<img src=/a.jpg#x>", "/a.jpg"),
        ("<img src=//cdn.example/a.jpg>", "http://cdn.example/a.jpg"),
        ("<img src='/picture?id=7&amp;w=9'>", "/picture?id=7&w=9"),
        ("<img src=' a\nb.jpg '>", "/shop/ab.jpg"),
        ("<img src='a b.jpg'>", "/shop/a%20b.jpg"),
        ("<img src=t.gif data-src=a.jpg>", "/shop/a.jpg"),
        ("<img src=data:image/gif;base64,R0 data-lazy-src=a.jpg>", "/shop/a.jpg"),
        ("<img src=s.jpg srcset='m.jpg 600w, l.jpg 1200w, s.jpg 300w'>", "/shop/l.jpg"),
        ("<img src=s.jpg srcset='s.jpg 1x,l.jpg 2x'>", "/shop/l.jpg"),
        ("<img srcset='w_3,h_2/s.jpg 300w, w_9,h_6/l.jpg 900w'>", "/shop/w_9,h_6/l.jpg"),
        ("<img src=s.jpg srcset='data:image/gif;base64,R0 1x' data-srcset='l.jpg 2x'>", "/shop/l.jpg"),
        ("<picture><source srcset='l.webp 900w'><img src=s.jpg srcset='s.jpg 300w'></picture>", "/shop/l.webp"),
        ("<noscript><img src=a.jpg></noscript>", "/shop/a.jpg"),
        ("<base href=/other/><img src=a.jpg>", "/other/a.jpg"),
        ("<base href=http://cdn.example/x/><base href=/y/><img src=a.jpg>", "http://cdn.example/x/a.jpg"),
        ("<base href=javascript:0><img src=a.jpg>", "/shop/a.jpg"),
        ("<meta property=og:image content=a.jpg>", "/shop/a.jpg"),
        ("<meta name=twitter:image content=a.jpg>", "/shop/a.jpg"),
        ("<a href=http://cdn.example/A.JPG?full=1>large</a>", "http://cdn.example/A.JPG?full=1"),
        ("<a href=a.webp>large</a>", "/shop/a.webp"),
        ("<link rel=image_src href=a.png>", "/shop/a.png"),
    ],
)
def test_a_picture_is_found_however_it_is_shown(markup: str, picture: str) -> None:
    """Relative, lazy, in its largest version, behind a link or for other sites: its full address is offered."""
    assert pictures(markup) == [picture if "://" in picture else f"http://guitars.example{picture}"]


@pytest.mark.parametrize(
    "markup",
    [
        "<img>",
        "<img src=''><img src='#'>",
        "<img src='http://[bad'><img src='http://a:99999999/x.jpg'><img src='http://me:pw@a.example/x.jpg'>",
        "<img src=data:image/png;base64,AA><img src=file:///etc/passwd.jpg>",
        "<link rel=icon href=a.png><link rel='apple-touch-icon' href=b.png>",
        "<picture><source srcset=a.jpg></picture><video><source src=a.mp4></video>",
        "<script>'<img src=a.jpg>'</script><!-- <img src=a.jpg> -->",
    ],
)
def test_what_shows_no_picture_offers_none(markup: str) -> None:
    """Empty, broken, inline and local addresses, icons, and what is no markup are left out."""
    assert pictures(markup) == []


def test_a_picture_is_offered_once_with_its_words() -> None:
    """What is said of a picture comes with it, and the page that shows it."""
    page = read("<meta property=og:image content=a.jpg><img src=a.jpg alt=' 1962 model\0 '><a href=a.jpg>large</a>")
    assert isinstance(page, Page)
    (offer,) = page.offers
    assert (offer.source, offer.query, offer.name) == ("site", SITE, "a.jpg")
    assert (offer.page_url, offer.title) == (SITE, "1962 model")


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("b.html#top", "/shop/b.html"),
        ("../", "/"),
        ("/", "/"),
        ("http://guitars.example", "/"),
        ("b/", "/shop/b/"),
        ("b.php?id=3&x=1.5", "/shop/b.php?id=3&x=1.5"),
        ("?page=2", "/shop/list?page=2"),
        ("Mr._Smith", "/shop/Mr._Smith"),
        ("/wiki/File:a.jpg", "/wiki/File:a.jpg"),
        ("b.aspx", "/shop/b.aspx"),
        ("/Gitarren/größer.htm", "/Gitarren/gr%C3%B6%C3%9Fer.htm"),
        ("https://www.guitars.example/b", "/b"),
        ("HTTP://GUITARS.example:80/b", "/b"),
    ],
)
def test_a_page_is_found_however_it_is_linked(link: str, page: str) -> None:
    """Whatever it ends in, and by whichever of the site's names, a page of the site is asked for under one address."""
    assert links(f"<a href='{link}'>on</a>") == [f"http://guitars.example{page}"]


@pytest.mark.parametrize(
    "link",
    [
        "",
        "#top",
        "http://elsewhere.example/?http://guitars.example/",
        "http://guitars.example.elsewhere.example/",
        "http://guitars.example:8080/",
        "http://more.guitars.example/",
        "mailto:me@guitars.example",
        "javascript:void(0)",
        "tel:1",
        "ftp://guitars.example/",
        "price.pdf",
        "all.zip",
        "song.mp3",
        "http://[",
        "http://me:pw@guitars.example/",
    ],
)
def test_what_is_no_page_of_the_site_is_not_followed(link: str) -> None:
    """Other hosts, other ports, other schemes, other kinds of file and what is no address lead nowhere."""
    assert links(f"<a href='{link}'>on</a>") == []


def test_other_ways_on_than_links_are_taken() -> None:
    """Areas of a map, frames and the next page lead on; styles and feeds do not."""
    assert links(
        """<link rel=next href=2><link rel=stylesheet href=style><link rel=alternate href=feed>
        <map><area href=3></map><iframe src=4></iframe><form action=5></form>"""
    ) == [f"http://guitars.example/shop/{n}" for n in (2, 3, 4)]
    assert links("<frameset><frame src=2></frameset>") == ["http://guitars.example/shop/2"]


def test_how_deep_a_page_lies_is_kept() -> None:
    """Each page linked to is a question one deeper, as far as is allowed."""
    page = read("<a href=a>", depth=3)
    assert isinstance(page, Page)
    assert page.more == [Question(SITE, "http://guitars.example/shop/a", "4")]
    assert links("<a href=a>", depth=4) == []


@pytest.mark.parametrize(
    ("meta", "header", "shows", "leads"),
    [
        ("", "", True, True),
        ("<meta name=robots content='nofollow'>", "", True, False),
        ("<meta name=ROBOTS content='NoIndex'>", "", False, True),
        ("<meta name=robots content='max-image-preview:none, noai'>", "", False, True),
        ("<meta name=curate content=noimageai>", "", False, True),
        ("<meta name=robots content='index noimageindex'>", "", False, True),
        ("<meta name=otherbot content='noindex, nofollow'>", "", True, True),
        ("<meta name=robots content=none>", "", False, False),
        ("", "noai", False, True),
        ("", "nofollow", True, False),
        ("", "none", False, False),
        ("", "otherbot: noindex", True, True),
        ("", "otherbot: nofollow", True, True),
        ("", "noimageindex", False, True),
        ("", "noarchive nofollow, max-image-preview: none", True, False),
    ],
)
def test_a_page_may_opt_out(meta: str, header: str, shows: bool, leads: bool) -> None:
    """A page whose markup or header asks for it has its pictures left alone, or its links."""
    markup = f"{meta}<img src=a.jpg><a href=b>"
    assert bool(pictures(markup, x_robots_tag=header)) is shows
    assert bool(links(markup, x_robots_tag=header)) is leads


def test_a_link_may_opt_out() -> None:
    """What a page links to with nofollow is neither followed nor taken."""
    markup = "<a rel='ugc NoFollow' href=a><a rel=nofollow href=a.jpg><a rel=noopener href=b>"
    assert (pictures(markup), links(markup)) == ([], ["http://guitars.example/shop/b"])


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.HTTP_4XX, Reason.ROBOTS_DISALLOWED])
def test_only_what_may_pass_or_comes_first_is_told(reason: Reason, depth: int) -> None:
    """A deeper page that is not to be had is passed over; one that may be had later stays open."""
    told = depth == 0 or reason.passing
    assert read(Refusal(reason), depth) == (Refusal(reason) if told else Page())


def test_a_site_that_has_moved_is_told() -> None:
    """Under www the site is the same; a page that leads elsewhere gives nothing, and the first one is told."""
    moved = "https://www.guitars.example/"
    assert links("<a href=http://guitars.example/b>", url=moved) == [f"{moved}b"]
    elsewhere = read("<img src=a.jpg>", url="http://adverts.example/")
    assert isinstance(elsewhere, Refusal)
    assert "http://adverts.example/" in elsewhere.detail
    assert read("<img src=a.jpg>", depth=1, url="http://adverts.example/") == Page()


def test_what_is_no_page_is_read_as_what_it_is() -> None:
    """A link that turns out to be a picture is one; any other file is nothing."""
    assert pictures(b"\x89PNG", content_type="image/png") == [SITE]
    assert pictures("<img src=a.jpg>", content_type="application/json") == []
    assert pictures("<img src=a.jpg>", content_type="application/xhtml+xml; charset=utf-8") != []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("größer.jpg".encode(), ""),
        ("größer.jpg".encode("cp1252"), "text/html; charset=Windows-1252"),
        ("größer.jpg".encode("latin-1"), 'text/html; charset="iso-8859-1"'),
        ("größer.jpg".encode("latin-1"), "text/html; charset=iso-8859-1;"),
        ("größer.jpg".encode("latin-1"), "text/html; charset = iso-8859-1; version=5"),
        ("größer.jpg".encode(), "text/html; charset=unicode_escape"),
        ("größer.jpg".encode(), "text/html; charset=utf-no-such"),
        ("größer.jpg".encode(), "text/html; charset=windows-no-such"),
    ],
)
def test_an_encoding_is_read_as_said(data: bytes, said: str) -> None:
    """The server's word counts, where it is the name of an encoding of text."""
    more = {"content_type": said} if said else {}
    assert pictures(b"<img src=" + data + b">", **more) == ["http://guitars.example/shop/gr%C3%B6%C3%9Fer.jpg"]


def test_an_encoding_may_stand_in_the_page() -> None:
    """A page may say itself how it is written, by a mark or in its head; a NUL does not end it."""
    markup = "<meta charset=shift_jis><img src=ギター.jpg>"
    wanted = ["http://guitars.example/shop/%E3%82%AE%E3%82%BF%E3%83%BC.jpg"]
    assert pictures(markup.encode("shift_jis")) == wanted
    assert pictures(markup.encode("utf-16")) == wanted
    assert pictures(b"\0<p>\0" + markup.encode("shift_jis")) == wanted


@pytest.mark.parametrize(
    "markup",
    [
        "",
        " ",
        "http://guitars.example/",
        "<?xml version='1.0' encoding='utf-16'?><rss><a href=b.pdf></rss>",
        "<a href=" * 30_000,
        "<picture><source srcset=x>" * 30_000,
        "<div>" * 100_000,
        "<!--" * 100_000,
        f"<img srcset='{'a, ' * 300_000}'>",
        f"<img srcset='{' 1w' * 300_000}'>",
        "<p>" + "<meta charset" * 50_000,
        "<a href='" + "x" * 1_000_000,
    ],
)
def test_huge_and_broken_pages_are_read(markup: str) -> None:
    """Depth, length and missing ends make a page no worse than useless."""
    assert isinstance(read(markup), Page)


def test_no_page_leads_everywhere() -> None:
    """A page with more links than a page has is read so far."""
    assert len(links("".join(f"<a href={n}>" for n in range(25_000)))) == 20_000


def test_a_page_is_asked_for_again_only_if_it_has_changed(web: Web) -> None:
    """What a server said of a page is sent back to it, and a page that stayed the same shows nothing again."""
    address = web.put("/", b"<img src=a.jpg>", headers=HTML | {"ETag": '"1"'})
    finder = SiteFinder(address, SiteSettings())
    page = answer(finder, finder.first(""))
    assert isinstance(page, Page)
    assert (len(page.offers), page.seen) == (1, Seen('"1"'))
    web.put("/", b"", status=304)
    again = answer(finder, Question(address, address, "0", page.seen))
    assert again == Page(seen=Seen('"1"'))
    assert web.headers[-1]["If-None-Match"] == '"1"'


def test_a_site_is_named_by_its_address() -> None:
    """Where nothing is said https is meant, a fragment means nothing, and pages are as many as set."""
    finder = SiteFinder("guitars.example#top", SiteSettings(max_pages=7))
    assert finder.first("") == Question("https://guitars.example/", "https://guitars.example/", "0")
    assert (finder.most_questions, finder.searches) == (7, False)
    refusal = answer(finder := SiteFinder("ftp://guitars.example", SiteSettings()), finder.first(""))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SCHEME_NOT_ALLOWED


GOOD = b"""<!doctype html><html><head><meta charset=utf-8><base href="/x/"><meta name=robots content="index, follow">
<meta property="og:image" content="http://cdn.example/o.jpg"><link rel=next href="?page=2"></head><body>
<a href="b.html#c">b</a><a rel="nofollow" href='http://[::1]:80/'>c</a><picture><source srcset="l.webp 2x, m.webp 1x">
<img src="s.jpg" data-src="t.jpg" srcset="a,b.jpg 300w,c.jpg 2x" alt="&#0;&copy;"></picture><iframe src=//h/></iframe>
<a href="big.JPG?x=1"><img src="data:image/gif;base64,R0lGOD"></a></body></html>"""
PIECES = [
    b"<",
    b">",
    b'"',
    b"&#x110000;",
    b"\0",
    b"http://[",
    b"href=",
    b"srcset=",
    b"<base href=",
    b"//",
    b"\xff",
    b"<a ",
]


@fuzz(st.binary(max_size=400), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_it(data: bytes, kind: str) -> None:
    """Any bytes, called anything, are a page."""
    assert isinstance(read(data, content_type=f"text/html; charset={kind}"), Page)


@fuzz(st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_no_damage_breaks_it(seed: int, times: int) -> None:
    """A page with pieces taken out, doubled and put in is still a page."""
    chance, data = random.Random(seed), bytearray(GOOD)  # noqa: S311 - no secret
    for _ in range(times):
        start = chance.randrange(len(data))
        end = start + chance.randrange(30)
        data[start:end] = chance.choice([b"", bytes(data[start:end]) * 2, *PIECES])
    assert isinstance(read(bytes(data)), Page)


@fuzz(st.text(max_size=60), st.sampled_from(["a href", "img src", "img srcset", "base href", "iframe src"]))
@settings(max_examples=150, deadline=None)
def test_no_link_breaks_it(link: str, tag: str) -> None:
    """Whatever a link holds, it is followed, taken or left out."""
    assert isinstance(read(f'<{tag}="http://{link.replace(chr(34), "")}"><a href=x>'), Page)
