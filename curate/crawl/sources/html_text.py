"""Markup where text was meant: what a reader would see of it, and where its links lead."""

import re

from bs4 import BeautifulSoup

from curate.crawl.sources.engine import Response, clean, is_web

_LONGEST = 20_000
_UNSEEN = "style, script, template, [hidden], [style*='display:none'], [style*='display: none']"
_APART = ["br", "p", "div", "li", "dd", "dt", "td", "th", "tr"]


def plain(markup: str) -> str:
    """Reduce markup to one line of text."""
    markup = clean(markup)
    return " ".join(clean(_seen(markup) if re.search("[<&]", markup) else markup).split())


def first_link(markup: str) -> str:
    """Find the first link of markup to the web; empty where there is none."""
    links = (absolute(str(tag["href"])) for tag in _read(markup).select("a[href]"))
    return next(filter(None, links), "")


def absolute(address: str) -> str:
    """Give the address that `//host/path` stands for, or one that is whole as it is; empty for all others."""
    address = clean(address)
    address = f"https:{address}" if address.startswith("//") else address
    return address if is_web(address) else ""


def _seen(markup: str) -> str:
    soup = _read(markup)
    for tag in soup.select(_UNSEEN):
        if not tag.decomposed:  # with one around it
            tag.decompose()
    for tag in soup.find_all(_APART):
        tag.insert_after(" ")
    return soup.get_text()


def _read(markup: str) -> BeautifulSoup:
    return Response(markup[:_LONGEST].encode("utf-8", "replace")).soup
