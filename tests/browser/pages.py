"""What the tests do with a page: open it, wait for words, keep a picture."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 120


def shown(browser: Any) -> str:
    """The text on the page, as a person sees it."""
    return str(browser.find_element(By.TAG_NAME, "body").text)


def open_page(browser: Any, url: str, *words: str) -> str:
    """Open `url` and wait until all `words` are on the page; returns its text."""
    browser.get(url)
    return wait_for(browser, *words)


def wait_for(browser: Any, *words: str) -> str:
    """Wait until all words are on the page."""

    def there() -> str | None:
        text = shown(browser)
        return text if all(word in text for word in words) else None

    return str(until(browser, there, words))


def until(browser: Any, true: Callable[[], Any], what: object) -> Any:
    """Wait until something is true of the page, and return it: what a page shows comes bit by bit."""
    ignored = (StaleElementReferenceException,)
    why = f"not on {browser.current_url}: {what}"
    return WebDriverWait(browser, PATIENCE, 0.25, ignored_exceptions=ignored).until(lambda _: true(), why)


def click(browser: Any, words: str) -> None:
    """Click what says exactly these words: the innermost element; the click goes up to its button, link or tab."""

    says = f"normalize-space()='{words}'"
    innermost = f"//*[{says} and not(.//*[{says}])]"

    def clicked() -> bool:
        button = next((e for e in browser.find_elements(By.XPATH, innermost) if e.is_displayed()), None)
        if button is not None:
            browser.execute_script("arguments[0].click()", button)
        return button is not None

    until(browser, clicked, words)


def picture(browser: Any, file: Path, width: int = 1280, height: int = 1600) -> None:
    """Keep what is to be seen."""
    browser.set_window_size(width, height)
    assert browser.save_screenshot(str(file))


def artifact_url(ui: str, key: str) -> str:
    """The page of the newest artifact with this key."""
    question = {"artifacts": {"key": {"any_": [key]}}}
    request = urllib.request.Request(
        f"{ui}/api/artifacts/latest/filter",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        (artifact,) = json.load(answer)
    return f"{ui}/artifacts/artifact/{artifact['latest_id']}"
