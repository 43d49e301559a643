"""The chat page in a real browser, against a server with scripted models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_process import KEY, Served, serving, slow_card

from archon.pages.document import static
from archon.serve.chat_page import SCRIPTS

QUESTION = "Nora has 14 pencils. She buys 3 packs of 6 and gives away 5. How many are left?"
HOSTILE = "<img src=x onerror='window.hacked=1'> **bold** $\\frac{1}{2}$ [x](javascript:hacked=1)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("chat")
    slow = slow_card(folder / "slow.json", 0.2)
    patient = slow_card(folder / "patient.json", 60)
    models = [*("--model", f"solver={slow}"), *("--model", "judge=scripted")]
    with serving("rank-fuse", patient, *models, log=folder / "log") as served:
        yield served


def opened(browser: Any, address: str, messages: list[str], **options: Any) -> Any:
    """Open the page and enter the API key."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: messages.append(f"error: {error}"))
    page.on("request", lambda request: messages.append(request.url))
    page.goto(f"{address}/")
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".welcome .node")
    return page


def test_an_architecture_is_asked_and_watched(browser: Any, server: Served) -> None:
    messages: list[str] = []
    page = opened(browser, server.address, messages, viewport={"width": 1280, "height": 800})
    page.fill("#question", QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".run .node.running")
    page.wait_for_selector("#send:visible")
    page.wait_for_selector(".run .lane:last-child .node.done")
    assert "The answer is" in page.inner_text(".reply-body")
    assert page.locator(".vote").count() >= 1
    page.locator(".flow .candidate").first.click()
    assert "wrote it" in page.inner_text(".candidate-card .story")
    page.get_by_text("Prompt and completion").click()
    assert QUESTION in page.locator(".speech.user").last.inner_text()
    page.locator(".run .node").nth(1).click()
    assert page.locator(".node-detail .fold").count() == 1

    page.fill("#question", HOSTILE)
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn:nth-child(2) .copy")
    assert page.locator(".turn img").count() == 0
    assert page.evaluate("window.hacked") is None
    assert all(url.startswith(server.address) for url in messages), messages
    assert page.evaluate("Object.keys(localStorage).length") == 0
    page.context.close()


def test_the_page_on_a_phone_stops_an_answer(browser: Any, server: Served) -> None:
    messages: list[str] = []
    size = {"width": 360, "height": 740}
    page = opened(browser, server.address, messages, viewport=size, color_scheme="dark")
    page.select_option("#model", "patient")
    page.fill("#question", "Well?")
    page.click("#send")
    page.click("#stop")
    page.wait_for_selector(".actions .notice")
    assert page.inner_text(".actions .notice") == "Stopped."
    page.click("#settings-button")
    page.fill("#set-max_tokens", "999999999")
    page.fill("#question", "Well?")
    page.click("#send")
    page.wait_for_selector(".notice.error")
    assert "max_tokens" in page.inner_text(".notice.error")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_text_of_models_becomes_elements_without_markup(browser: Any) -> None:
    shared = ("dom.js", "format.js")
    scripts = [*map(static, shared), *(static(n, "archon.serve") for n in SCRIPTS[1:3])]
    page = browser.new_page()
    page.evaluate("\n".join([*scripts, "window.markdown = markdown", "null"]))
    text = f"# T\n{HOSTILE}\n\n- a\n- $x^2$ costs $5 or $6\n\n"
    text += "\\[\\sqrt{2} \\unknown\\]\n\n```py\n1 < 2"
    html = page.evaluate("text => markdown(text).outerHTML", text)
    assert "&lt;img" in html
    assert "<strong>bold</strong>" in html
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in html
    assert "<a " not in html
    assert "$5 or $6" in html
    assert "<msqrt>" in html
    assert "\\unknown" in html
    assert "1 &lt; 2</code>" in html
    page.close()


def test_static_files_make_no_markup_of_texts() -> None:
    for name in SCRIPTS:
        text = Path(__file__).parents[2].joinpath("archon/serve/static", name).read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert word not in text
