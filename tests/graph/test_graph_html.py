"""An answer in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

from graph_doubles import make_architecture

from archon.lm.scripted.lm import ScriptedLM, in_turn

VOTE = {
    "draft": {"type": "generator", "samples": 3},
    "answer": {"type": "vote", "inputs": ["draft"]},
}


class Tags(HTMLParser):
    """Collects the tags that a text opens, and what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_an_answer_shows_its_candidates_and_nodes() -> None:
    replies = ["The answer is 5.", "The answer is 5.", "The answer is 6."]
    architecture = make_architecture(VOTE, "answer", ScriptedLM(in_turn(replies)))
    html = (await architecture.arun("What is 2 + 3?"))._repr_html_()
    for text in ("The answer is 5.", "value <b>5</b>", "2 candidates", "vote", "draft 2"):
        assert text in html
    tags = Tags()
    tags.feed(html)
    assert tags.open == []


async def test_text_of_a_model_is_escaped() -> None:
    said = "<script>alert(1)</script><img src=x onerror=alert(1)> The answer is 5."
    architecture = make_architecture(VOTE, "answer", ScriptedLM(in_turn([said, "It is 6."])))
    html = (await architecture.arun("What is 2 + 3?"))._repr_html_()
    tags = Tags()
    tags.feed(html)
    assert tags.seen.isdisjoint({"script", "img"})
    assert "&lt;script&gt;" in html
