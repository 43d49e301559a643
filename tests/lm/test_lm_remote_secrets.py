"""The API key appears in no error, repr or log."""

import logging

import httpx
import pytest
from remote_doubles import (
    KEY,
    REQUEST,
    FakeServer,
    failure,
    remote,
)


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(401, json={"error": {"message": f"bad key: {KEY}"}}),
        httpx.Response(401, text=f"bad key {KEY}"),
        httpx.Response(401, text="x" * 490 + KEY),
        httpx.Response(
            200, content=f'{{"a": "{KEY}'.encode(), headers={"content-type": "application/json"}
        ),
        httpx.Response(
            200,
            content=f'{{"a": "{KEY}'.replace("/", "\\/").encode(),
            headers={"content-type": "application/json"},
        ),
        httpx.Response(200, json={"error": {"message": KEY}}),
        httpx.Response(302, headers={"location": f"http://two.test/?key={KEY}"}),
        httpx.Response(200, text="", headers={"content-type": KEY}),
        httpx.ReadError(f"lost {KEY}"),
    ],
)
async def test_the_key_is_in_no_error(reply: httpx.Response | Exception) -> None:
    error = await failure(reply)
    seen: BaseException | None = error
    while seen is not None:
        assert KEY not in f"{seen!r} {seen}"
        seen = seen.__cause__
    assert "secret" not in str(error)


async def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lm = remote(FakeServer(httpx.Response(500, text=KEY)))
    await lm.generate(REQUEST)
    assert KEY not in repr(lm)
    assert KEY not in caplog.text
    assert caplog.records
