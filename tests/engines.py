"""Bing, Google and Flickr on loopback: answers as they were recorded, with their traps left in."""

import asyncio
import html
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Finder, Page, Question, SourceError
from curate.crawl.settings import CrawlSettings
from curate.crawl.wire import Body
from db.reasons import Refusal
from tests.web import Answer, Web

SETTINGS = CrawlSettings(allow_private_addresses=True, attempts=1, deadline_seconds=5)
HTML = {"Content-Type": "text/html; charset=utf-8"}
FORBID_ALL = b"User-agent: *\nDisallow: /\n"
CONSENT = b"""<!doctype html><html><head><title>Before you continue</title></head><body>
<form action="https://consent.example/save" method="POST"><button>Accept all</button></form>
<script nonce="x">window.a = ["https://www.gstatic.com/images/branding/logo.png", 92, 272];</script></body></html>"""


def picture(number: int) -> str:
    """The address of a picture somewhere else on the web; each has an ending of its own."""
    ending = (".jpg", ".png", ".webp", ".jpeg", ".gif", ".jpg?width=1600&fit=crop", "")[number % 7]
    return f"https://museum.example/files/{number}{ending}"


def answer(finder: Finder, question: Question) -> Page | Refusal:
    """Ask for one page as a crawl does, and give what came: a page, or why there is none."""

    async def run() -> Page | Refusal:
        async with Fetcher(SETTINGS) as fetcher:
            return await _answer(finder, question, fetcher)

    return asyncio.run(run())


def read_on(finder: Finder, query: str) -> list[Page | Refusal]:
    """Ask page after page, to the end or to the first that fails."""

    async def run() -> list[Page | Refusal]:
        question, read = finder.first(query), list[Page | Refusal]()
        async with Fetcher(SETTINGS) as fetcher:
            while True:
                read.append(page := await _answer(finder, question, fetcher))
                if isinstance(page, Refusal) or page.cursor is None:
                    return read
                question = Question(question.query, question.part, page.cursor)

    return asyncio.run(run())


def addresses(read: Sequence[Page | Refusal]) -> list[str]:
    """Everything offered on pages, in order."""
    return [offer.address for page in read if isinstance(page, Page) for offer in page.offers]


def given(finder: Finder, data: bytes, cursor: str = "") -> Page | Refusal:
    """What a finder makes of bytes, without a network: for the thousands of them that a fuzzer makes."""
    return asyncio.run(_answer(finder, Question("guitar", cursor=cursor), _Canned(data)))


class _Canned(Fetcher):
    """Brings the same bytes whatever is asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(SETTINGS)
        self._data = data

    async def get(self, url: str, *_args: Any, **_more: Any) -> Body:  # noqa: ANN401 - as the real one
        return Body(self._data, url, {})


async def _answer(finder: Finder, question: Question, fetcher: Fetcher) -> Page | Refusal:
    try:
        return await finder.page(question, fetcher)
    except SourceError as error:
        return error.refusal


def bing_said(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - what Bing says of a picture
    """What Bing says of one of its results."""
    return {
        "sid": "",
        "cturl": "",
        "cid": "9lNQo0Xb",
        "purl": f"https://museum.example/works/{number}",
        "murl": picture(number),
        "turl": f"https://tse1.mm.bing.net/th?id=OIP.{number}&pid=15.1",
        "md5": f"f6535{number:027x}",
        "shkey": "",
        "t": f"A \ue000guitar\ue001 & its maker, {number}",
        "mid": f"MID{number}",
        "desc": "Old “wood”",
    } | more


def bing_block(said: dict[str, Any] | str | None) -> str:
    """One result as Bing marks it up; its JSON may be given as it is, or be missing."""
    text = said if isinstance(said, str) else json.dumps(said)
    attribute = "" if said is None else f' m="{html.escape(text)}"'
    return f"""<li data-idx="1"><div class="iuscp isv"><div class="imgpt">
<a class="iusc" style="height:180px"{attribute} href="/images/search?view=detailV2" h="ID=images,5113.1">
<div class="img_cont hoff"><img class="mimg" src="https://tse1.mm.bing.net/th/id/OIP.x?w=150" alt=""/></div></a>
<div class="img_info hon"><span class="nowrap">1920 x 1080 &#183; jpeg</span>
<div class="lnkw"><a target="_blank" href="https://museum.example/">museum.example</a></div></div></div>
<div class="infopt"><div class="infnmpt"><a href="/images/search?q=x">a title</a></div></div></div></li>"""


def bing_page(blocks: Sequence[str]) -> bytes:
    """What `/images/async` answers: a piece of a page, without head and body."""
    return f"""<div class="dg_b isvctrl" data-nexturl="/images/async?first=36"><div class="dgControl hover">
<ul class="dgControl_list" data-row="0">{"".join(blocks)}</ul></div></div>
<script type="text/javascript">//<![CDATA[
_w.lazy={{"murl":"https://not.example/from-a-script.jpg"}};//]]></script>""".encode()


def put_bing(web: Web, count: int, page_size: int = 35) -> None:
    """Answer as Bing does, with so many pictures: at the end of them the last page again and again."""

    def compute(query: str) -> tuple[int, dict[str, str], bytes]:
        asked = parse_qs(query, keep_blank_values=True)
        start = min(int(asked["first"][0]) - 1, max(0, count - 1) // page_size * page_size)
        numbers = range(start, min(start + page_size, count)) if asked["q"] == ["red & guitar"] else range(0)
        return 200, HTML, bing_page([bing_block(bing_said(number)) for number in numbers])

    web.pages["/images/async"] = Answer(compute=compute)


def google_result(number: int, address: str | None = None) -> str:
    """One result as Google's script carries it: a thumbnail, the picture, where it is shown, and its title."""
    file = json.dumps(address or picture(number)).replace("&", r"\u0026").replace("=", r"\u003d")
    return rf"""[1,[0,"dOC{number}",["https://encrypted-tbn0.gstatic.com/images?q\u003dtbn:ANd{number}\u0026s",183,275]
,[{file},853,1280]
,null,0,"rgb(152,114,82)",null,0,{{"2000":[null,"museum.example","68KB"],"2001":[null,null,null,3,9,null,9],"2003":[null,"id_{number}","https://museum.example/works?n\u003d{number}","A \u201cguitar\u201d \u0026 its \"maker\", {number}",null,null,null,null,null,"Museum"]}}]]"""  # noqa: E501 - as Google sends it


def google_page(results: Sequence[str]) -> bytes:
    """A page of results, between scripts that name files which are none."""
    return rf"""<!doctype html><html itemscope="" lang="en"><head><title>guitar - Google Search</title>
<script nonce="a">(function(){{google.logo="https://www.google.com/images/branding/googlelogo_272x92dp.png";
var m=["https://www.gstatic.com/images/icons/material/anchor.png",48,48];}})();</script></head><body>
<img src="data:image/gif;base64,R0lGOD" class="rg_i"><img src="https://encrypted-tbn0.gstatic.com/images?q=tbn:x">
<script nonce="a">AF_initDataCallback({{key: 'ds:0', hash: '1', data:["en","https://lens.google.com/upload.png"]}});
</script><script nonce="a">AF_initDataCallback({{key: 'ds:1', hash: '2', data:[null,[["b-GRID_STATE0",null,[
{",".join(results)}],"All"]]], sideChannel: {{}}}});</script></body></html>""".encode()


def put_google(web: Web, count: int) -> None:
    """Answer as Google does, with so many pictures, a hundred a page; after them a page without any."""

    def compute(query: str) -> tuple[int, dict[str, str], bytes]:
        asked = parse_qs(query, keep_blank_values=True)
        start = int(asked["start"][0])
        wanted = asked["q"] == ["red & guitar"] and asked["tbm"] == ["isch"] and int(asked["ijn"][0]) == start // 100
        numbers = range(start, min(start + 100, count)) if wanted else range(0)
        return 200, HTML, google_page([google_result(number) for number in numbers])

    web.pages["/search"] = Answer(compute=compute)


def flickr_photo(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - what Flickr says of a photograph
    """What Flickr says of a photograph whose owner gives its original away."""
    photo = {
        "id": f"5369{number}",
        "owner": "39638504@N07",
        "secret": "12b9d7b4ea",
        "server": "65535",
        "farm": 66,
        "title": f"Guitar {number}",
        "ispublic": 1,
        "license": "5",
        "ownername": "Ann Onymous",
        "pathalias": "ann",
    }
    for size, side in (("o", 4000), ("l", 1024), ("c", "800"), ("z", 640)):
        photo |= {f"url_{size}": f"https://live.staticflickr.com/65535/5369{number}_12b9_{size}.jpg"}
        photo |= {f"height_{size}": side, f"width_{size}": side}
    return photo | more


def flickr_page(photos: Sequence[dict[str, Any]], page: int = 1, pages: int = 1, total: int | str = 1) -> bytes:
    """A page of photographs."""
    shown = {"page": page, "pages": pages, "perpage": 100, "total": total, "photo": list(photos)}
    return json.dumps({"photos": shown, "stat": "ok"}).encode()


def put_flickr(web: Web, count: int, key: str) -> None:
    """Answer as Flickr does, with so many photographs, to who has the key; others are told so with a 200."""

    def compute(query: str) -> tuple[int, dict[str, str], bytes]:
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if asked.get("api_key") != key:
            return 200, {}, b'{"stat":"fail","code":100,"message":"Invalid API Key (Key has invalid format)"}'
        page, size = int(asked["page"]), int(asked["per_page"])
        photos = [flickr_photo(n) for n in range((page - 1) * size, min(page * size, count))]
        return 200, {"Content-Type": "application/json"}, flickr_page(photos, page, -(-count // size), str(count))

    web.pages["/services/rest"] = Answer(compute=compute)
