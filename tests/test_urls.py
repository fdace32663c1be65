"""Lists of addresses and folders: every form, page by page, gone on with where they were left."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as fuzz
from hypothesis import strategies as st

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Finder, Page, Question, SourceError
from curate.crawl.sources.folder import FolderFinder
from curate.crawl.sources.urls import UrlsFinder
from db.errors import ConfigError
from db.reasons import Reason, Refusal
from tests.engines import SETTINGS, addresses

NO_FETCHER = Fetcher(SETTINGS)
"""Not entered: a list that asked the web for anything would fail."""


def answer(finder: Finder, question: Question) -> Page | Refusal:
    """One page, or why there is none."""
    try:
        return asyncio.run(finder.page(question, NO_FETCHER))
    except SourceError as error:
        return error.refusal


def read_on(finder: Finder, question: Question | None = None) -> list[Page | Refusal]:
    """Page after page, to the end or to the first that fails."""
    question, read = question or finder.first(""), list[Page | Refusal]()
    while True:
        read.append(page := answer(finder, question))
        if isinstance(page, Refusal) or page.cursor is None:
            return read
        question = Question(question.query, question.part, page.cursor)


def write(file: Path, text: str | bytes) -> Path:
    """Make a file."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def put_parquet(file: Path, columns: Mapping[str, Sequence[Any]], **more: Any) -> Path:  # noqa: ANN401 - pyarrow's
    """Make a table."""
    pq.write_table(pa.table(columns), file, **more)
    return file


def address(number: int) -> str:
    """One of many."""
    return f"https://museum.example/{number}.jpg"


def many(tmp_path: Path, suffix: str, count: int) -> Path:
    """A list of many addresses in any form."""
    file = tmp_path / f"list{suffix}"
    rows = [address(n) for n in range(count)]
    if suffix == ".parquet":
        return put_parquet(file, {"url": rows}, row_group_size=70)
    return write(file, "\n".join(rows if suffix == ".txt" else ["url", *rows]))


FORMS = [".txt", ".csv", ".tsv", ".parquet"]


@pytest.mark.parametrize("suffix", FORMS)
def test_a_list_is_read_page_by_page(tmp_path: Path, suffix: str) -> None:
    """Every address is shown once, in order, a hundred a page."""
    read = read_on(UrlsFinder(many(tmp_path, suffix, 250)))
    assert addresses(read) == [address(n) for n in range(250)]
    assert [page.cursor for page in read if isinstance(page, Page)] == ["100", "200", None]
    assert addresses(read_on(UrlsFinder(many(tmp_path, suffix, 200)))) == [address(n) for n in range(200)]


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("cursor", ["100", "140", "175", "250", "999"])
def test_a_list_is_gone_on_with(tmp_path: Path, suffix: str, cursor: str) -> None:
    """Another finder, in another process, begins where the cursor says; beyond the end there is nothing."""
    file = many(tmp_path, suffix, 250)
    first = UrlsFinder(file).first("")
    read = read_on(UrlsFinder(file), Question(first.query, first.part, cursor))
    assert addresses(read) == [address(n) for n in range(int(cursor), 250)]


def test_a_page_may_be_asked_for_again(tmp_path: Path) -> None:
    """A finder that has gone further still gives any page that is asked for."""
    finder = UrlsFinder(many(tmp_path, ".txt", 250))
    first = finder.first("")
    read = [answer(finder, Question(first.query, first.part, cursor)) for cursor in ("", "100", "100", "", "200")]
    assert [addresses([page])[0] for page in read] == [address(n) for n in (0, 100, 100, 0, 200)]


@pytest.mark.parametrize("suffix", FORMS)
def test_a_list_that_has_changed_is_read_anew(tmp_path: Path, suffix: str) -> None:
    """Where a former file was left means nothing: the question leads to the file as it is now, from its beginning."""
    file = many(tmp_path, suffix, 250)
    finder = UrlsFinder(file)
    former = finder.first("")
    answer(finder, former)
    many(tmp_path, suffix, 130)
    page = answer(finder, Question(former.query, former.part, "100"))
    assert page == Page(more=[UrlsFinder(file).first("")])
    assert finder.first("") != former
    assert len(addresses(read_on(finder))) == 130


def test_blank_lines_and_comments_are_left_out(tmp_path: Path) -> None:
    """A text holds an address a line, with or without BOM, however its lines end; what is none is for the fetcher."""
    file = write(
        tmp_path / "list", "\ufeff# mine\r\n\r\n http://a.example/1.jpg \r  \nnot/an address.jpg\n#x\nhttp://b/2"
    )
    page = answer(finder := UrlsFinder(file), finder.first(""))
    assert isinstance(page, Page)
    assert addresses([page]) == ["http://a.example/1.jpg", "not/an address.jpg", "http://b/2"]
    assert [(o.source, o.query, o.name, o.licence) for o in page.offers[:1]] == [("urls", str(file), "1.jpg", "")]


TABLE = {
    " Image_URL": "http://a.example/x/1.jpg",
    "url": "http://a.example/page",
    "Title": "A “guitar”, red",
    "author": "Ann",
    "license": "CC BY-SA",
    "license_version": "4.0",
    "licence-url": "https://creativecommons.org/licenses/by-sa/4.0/",
    "attribution": "by Ann",
    "Source page": "http://a.example/about",
    "id": "7",
    "Year": "1962",
    "empty": "",
}


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv", ".parquet"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_what_a_table_says_is_kept(tmp_path: Path, suffix: str, delimiter: str) -> None:
    """Known columns, in whatever case and spelling, are what they say; the others come along under their names."""
    file = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        put_parquet(file, {name: [value] for name, value in TABLE.items()})
    else:
        between = "\t" if suffix == ".tsv" else delimiter
        rows = [[f'"{value}"' for value in values] for values in (TABLE, TABLE.values())]
        write(file, "\ufeff" + "\r\n".join(between.join(row) for row in rows))
    page = answer(finder := UrlsFinder(file), finder.first(""))
    assert isinstance(page, Page)
    (offer,) = page.offers
    assert (offer.address, offer.name, offer.title) == ("http://a.example/x/1.jpg", "1.jpg", "A “guitar”, red")
    assert (offer.creator, offer.attribution, offer.source_id) == ("Ann", "by Ann", "7")
    assert (offer.licence_said, offer.licence_url) == ("CC BY-SA 4.0", TABLE["licence-url"])
    assert offer.licence.startswith("CC")
    assert offer.page_url == "http://a.example/about"
    assert offer.extra == {"url": "http://a.example/page", "Year": "1962"}


def test_values_of_any_kind_come_along(tmp_path: Path) -> None:
    """What JSON has no word for is written as text or left out; pictures inside a table are not even read."""
    columns: dict[str, Sequence[Any]] = {
        "url": [b"http://a.example/1.jpg", None],
        "id": [7, 8],
        "day": [date(2017, 2, 1), None],
        "price": [Decimal("9.50"), None],
        "size": [float("nan"), 1.0],
        "tags": [["red", None], []],
        "image": [{"bytes": b"\xff\xd8", "path": "a"}, None],
        "sold": [False, True],
    }
    page = answer(finder := UrlsFinder(put_parquet(tmp_path / "a.parquet", columns)), finder.first(""))
    assert isinstance(page, Page)
    (offer,) = page.offers
    assert (offer.address, offer.source_id) == ("http://a.example/1.jpg", "7")
    assert json.loads(json.dumps(offer.extra)) == offer.extra
    assert offer.extra == {"day": "2017-02-01", "price": "9.50", "tags": ["red", None], "sold": False}


def test_a_comma_in_a_table_of_tabs_divides_nothing(tmp_path: Path) -> None:
    """The suffix says what divides, as long as the header allows it."""
    file = write(tmp_path / "a.tsv", "url\nhttp://a.example/1,2.jpg\n")
    assert addresses(read_on(UrlsFinder(file))) == ["http://a.example/1,2.jpg"]


def test_rows_without_address_are_passed_over(tmp_path: Path) -> None:
    """An empty line, a short row and an empty cell are no addresses; the cursor counts them all the same."""
    file = write(tmp_path / "a.csv", "title,url\n\na\nb,\nc,http://a.example/1\n" + "d,\n" * 120)
    read = read_on(UrlsFinder(file))
    assert addresses(read) == ["http://a.example/1"]
    assert [page.cursor for page in read if isinstance(page, Page)] == ["100", None]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"picture,title\nx,y\n", "image_url or url; its first line has: picture, title"),
        ("a.tsv", b"picture\ttitle\n", "its first line has: picture, title"),
        ("a.csv", b"", "nothing"),
        ("a.csv", b"url,title\na,b,c\n", "line 2 has 3 values for 2 columns"),
        ("a.csv", b'url\n"a"b\n', "expected after"),
        ("a.csv", b'url\n"a\n', "unexpected end"),
        ("a.csv", b"url\n" + b'"' + b"a\n" * 200_000, "field larger"),
        ("a.txt", b"http://a\xff\n", "UTF-8"),
        ("a.csv", "url\nhttp://a\n".encode("utf-16"), "UTF-8"),
        ("a.txt", b"x" * 1_000_000, "1000000 characters or more"),
        ("a.parquet", b"", "Parquet"),
        ("a.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "Parquet"),
    ],
)
def test_a_file_that_is_no_list_is_told_before_any_work(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    """What is wrong with its beginning is said at once, in one line that names the file."""
    file = write(tmp_path / name, data)
    with pytest.raises(ConfigError) as caught:
        UrlsFinder(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words.casefold() in message.casefold()
    assert "\n" not in message


def test_a_table_without_a_column_of_addresses_is_told(tmp_path: Path) -> None:
    """Parquet too says which columns there are."""
    with pytest.raises(ConfigError, match=r"no column of addresses.*: picture, title"):
        UrlsFinder(put_parquet(tmp_path / "a.parquet", {"picture": ["x"], "title": ["y"]}))


@pytest.mark.parametrize(
    ("name", "head", "bad"),
    [
        ("a.txt", b"", b"\xff\n"),
        ("a.csv", b"url,title\n", b"a,b,c\n"),
        ("a.csv", b"url\n", b'"x"y\n'),
        ("a.csv", b"url\n", b"\xff\n"),
    ],
)
def test_what_is_wrong_further_on_stops_there(tmp_path: Path, name: str, head: bytes, bad: bytes) -> None:
    """Pages before the fault are given; the one that holds it fails, each time, and names the file."""
    file = write(tmp_path / name, head + b"http://a.example/1.jpg\n" * 9_000 + bad)
    read = read_on(finder := UrlsFinder(file))
    refusal = read.pop()
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, len(addresses(read)) > 8_000) == (Reason.UNREADABLE, True)
    assert refusal.detail.startswith(f"{file}: ")
    assert answer(finder, Question(str(file), finder.first("").part, str(len(read) * 100))) == refusal


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    """A list that was there, and is no longer, cannot be read on."""
    file = many(tmp_path, ".txt", 250)
    finder = UrlsFinder(file)
    file.unlink()
    refusal = answer(finder, finder.first(""))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (Reason.UNREADABLE, f"{file}: No such file or directory")
    with pytest.raises(ConfigError, match="No such file"):
        UrlsFinder(file)


def test_pyarrow_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, Parquet is refused with what to install; nothing else needs it."""
    file = many(tmp_path, ".parquet", 3)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'curate\[parquet\]'"):
        UrlsFinder(file)
    assert len(addresses(read_on(UrlsFinder(many(tmp_path, ".csv", 3))))) == 3


def test_a_list_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is known by its full path, whatever the folder the command was started in."""
    file = many(tmp_path, ".txt", 1)
    monkeypatch.chdir(tmp_path)
    assert UrlsFinder(Path(file.name)).first("") == UrlsFinder(file).first("anything")
    around = Path("..") / tmp_path.name
    assert UrlsFinder(around / file.name).first("") == UrlsFinder(file).first("")
    assert addresses(read_on(FolderFinder(around))) == addresses(read_on(FolderFinder(tmp_path)))
    assert UrlsFinder(file).first("").query == str(file)
    assert (UrlsFinder.searches, UrlsFinder.most_questions) == (False, None)


def test_a_folder_is_read_page_by_page(tmp_path: Path) -> None:
    """Every file that is not hidden is shown once, in order, and gone on with where it was left."""
    for n in range(130):
        write(tmp_path / f"{n:03}.jpg", b"")
    write(tmp_path / ".hidden", b"")
    wanted = [(tmp_path / f"{n:03}.jpg").as_uri() for n in range(130)]
    finder = FolderFinder(tmp_path)
    assert finder.first("") == Question(str(tmp_path))
    read = read_on(finder)
    assert addresses(read) == wanted
    assert all(o.local and o.query == str(tmp_path) for page in read if isinstance(page, Page) for o in page.offers)
    assert addresses(read_on(FolderFinder(tmp_path), Question(str(tmp_path), cursor="100"))) == wanted[100:]


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    """A folder that is no longer there is no empty one."""
    refusal = answer(finder := FolderFinder(tmp_path / "none"), finder.first(""))
    assert refusal == Refusal(Reason.UNREADABLE, f"no folder {tmp_path / 'none'}")


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    """A folder and a file that no encoding can read are shown as far as they can be, and found all the same."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    page = answer(finder := FolderFinder(folder), finder.first(""))
    write(file := folder / "list.txt", "http://a.example/1.jpg\n")
    read = [page, *read_on(FolderFinder(folder)), *read_on(UrlsFinder(file))]
    queries = [o.query for page in read if isinstance(page, Page) for o in page.offers]
    assert queries == [f"{tmp_path}/\N{REPLACEMENT CHARACTER}", f"{tmp_path}/\N{REPLACEMENT CHARACTER}/list.txt"]


def takes(file: Path) -> bool:
    """Whether a file is read to its end or refused, and nothing else happens."""
    try:
        finder = UrlsFinder(file)
    except ConfigError as error:
        return "\n" not in str(error)
    return all(isinstance(page, Page | Refusal) for page in read_on(finder))


@fuzz(st.binary(max_size=300), st.sampled_from([b"", b"url,title\n", b"url\n", b"title;url\n", b"\xef\xbb\xbfurl\n"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_it(tmp_path: Path, data: bytes, head: bytes) -> None:
    """Any bytes are a list, in every form, or are refused."""
    assert all(takes(write(tmp_path / f"list{suffix}", head + data)) for suffix in FORMS)


@fuzz(st.lists(st.text(max_size=20), max_size=30), st.sampled_from(",;\t\n"))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_it(tmp_path: Path, cells: list[str], between: str) -> None:
    """Nor does any text between delimiters and quotes."""
    text = between.join(["url", "title", *cells]).encode("utf-8", "replace")
    assert all(takes(write(tmp_path / f"list{suffix}", text)) for suffix in (".txt", ".csv", ".tsv"))
