"""A real browser for tests that look at pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from labeler.signin import session_cookie
from tests import prepare

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NEEDS_BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason=f"no chromium: {prepare.BROWSER_HOW}"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def at_work(browser: Browser, url: str, user: str, password: str) -> Iterator[Page]:
    """The browser of somebody who is signed in to the Label Studio at `url`, on a small laptop."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    context.add_cookies([{"name": "sessionid", "value": session_cookie(url, user, password), "url": url}])
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()
