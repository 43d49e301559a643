"""A real browser, and pages that are opened in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or else the one that Playwright installs."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        except sync_api.Error as error:
            pytest.skip(f"no Chromium to be found: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def open_file(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open files as pages; fail if they log to the console or request anything."""
    contexts, messages = [], []

    def open_file(path: Path, wait: str, timeout_ms: float, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(timeout_ms)
        page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))
        page.on("dialog", lambda dialog: messages.append("a dialog"))
        page.on(
            "request",
            lambda request: None if request.url == path.as_uri() else messages.append(request.url),
        )
        page.goto(path.as_uri())
        page.wait_for_selector(wait)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert [line for line in messages if not line.startswith("blob:")] == []
