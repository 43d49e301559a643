from hypothesis import given
from hypothesis import strategies as st

from archon.lm.openai.sse import EventParser, encode_event


def parsed(chunks: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.end()


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1)),
    st.integers(1, 9),
)
def test_events_are_parsed_from_chunks_of_any_size(texts: list[str], size: int) -> None:
    stream = b"".join(encode_event(text.encode()) for text in texts)
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert [event.decode() for event in parsed(chunks)] == texts


def test_comments_other_fields_and_carriage_returns_are_skipped() -> None:
    stream = b": hello\r\n\r\nevent: x\r\nid: 4\r\ndata:one\r\n\r\ndata: two\r\ndata: three\r\n\r\n"
    assert parsed([stream]) == [b"one", b"two\nthree"]


def test_an_event_without_its_blank_line_is_read_at_the_end() -> None:
    assert parsed([b"data: a\n\ndata: b"]) == [b"a", b"b"]
