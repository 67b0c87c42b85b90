"""The page in a real browser: ask, move a weight, add a document, forget it; by keyboard, light, dark and narrow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paramrag import MODES

from .conftest import Running

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 120_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; set CHROMIUM to its path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield started
        started.close()


def shows(page: Any, selector: str, text: str) -> None:
    """Waits until an element says something; scripts in strings are forbidden to the page, and so to the test."""
    page.locator(selector).filter(has_text=text).wait_for()


@pytest.mark.timeout(600)
def test_the_whole_page(server: Running, browser: Any, tmp_path: Path) -> None:
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    page.wait_for_selector("#modes input")
    assert page.evaluate("document.activeElement.id") == "question"

    page.fill("#tokens", "8")
    page.fill("#question", "Who designed the Zorbik Tower?")
    page.press("#question", "Enter")
    shows(page, "#status", "All modes have answered")
    cards = page.locator("#answers article")
    assert cards.count() == len(MODES)
    assert [cards.nth(at).get_attribute("aria-busy") for at in range(len(MODES))] == ["false"] * len(MODES)
    assert page.locator("#answers .error").count() == 0
    assert "Zorbik Tower stands in Port Quell" in page.inner_text("#passages")
    assert "prompt tokens" in cards.first.inner_text()
    page.screenshot(path=str(shots / "light.png"), full_page=True)
    before = page.inner_text("article[data-mode='p-rag'] .text")

    page.click("article[data-mode='pt-rag'] .why")
    shows(page, "article[data-mode='pt-rag'] .explanation", "By how many nats")
    assert page.locator("article[data-mode='pt-rag'] .explanation tr").count() == 1 + 2 + 2
    assert page.locator("article[data-mode='pt-rag'] .explanation .bar").count() > 4
    page.click("article[data-mode='vanilla'] .why")
    shows(page, "article[data-mode='vanilla'] .explanation", "No adapter and no passage")
    page.screenshot(path=str(shots / "why.png"), full_page=True)

    for slider in page.locator("#passages input[type=range]").all():  # no adapter: as vanilla
        slider.focus()
        slider.press("Home")
    page.focus("#again")
    page.keyboard.press("Enter")
    shows(page, "#status", "All modes have answered")
    after = page.inner_text("article[data-mode='p-rag'] .text")
    assert after == page.inner_text("article[data-mode='vanilla'] .text") != before

    assert page.input_value("#passages input[type=range]") == "0"  # the weights stay, to be moved again

    new = tmp_path / "vell.md"
    new.write_text("# The lighthouse of Vell\n\nThe lighthouse of Vell was painted green by Ansa Korrin in 1954.\n")
    page.set_input_files("#file", str(new))
    page.click("#upload button")
    shows(page, "#job", "is encoded")
    assert "1 of 1 passages encoded" in page.inner_text("#documents")
    page.click("button[aria-label='Forget The lighthouse of Vell']")
    shows(page, "#job", "is forgotten")
    assert "Vell" not in page.inner_text("#documents")
    assert {record.id for record in server.collection.documents()} == {"tower", "mill", "ferry"}

    page.emulate_media(color_scheme="dark")
    page.screenshot(path=str(shots / "dark.png"), full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=str(shots / "phone.png"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert (
        page.evaluate(
            "Math.max(...[...document.querySelectorAll('body *')].filter((one) => one.offsetParent)"
            ".map((one) => one.getBoundingClientRect().right))"
        )
        <= 390
    )
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, button, progress')].filter((one) => !(one.labels?.length"
        " || one.textContent.trim() || one.getAttribute('aria-label'))).map((one) => one.outerHTML)"
    )
    assert unnamed == []
    assert problems == []
    page.close()
