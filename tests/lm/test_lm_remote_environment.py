"""Proxies and certificates from environment variables."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from network_doubles import REQUEST, network, well

from archon.errors import LMError, RefusedError, UsageError
from archon.lm.openai.client import RemoteLM
from archon.lm.retry import Backoff
from archon.spec.model import OpenAICard

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def remote(url: str, **values: object) -> RemoteLM:
    card = {"name": "far", "backend": "openai", "base_urls": [url], "model": "m", **values}
    return RemoteLM(OpenAICard.model_validate(card), backoff=Backoff(1))


async def text_of(lm: RemoteLM) -> str:
    try:
        [sample] = await lm.generate(REQUEST)
        return sample.text
    finally:
        await lm.aclose()


# -------------------------------------------------------------------------------- proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_used(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(well) as proxy:
        monkeypatch.setenv(variable, proxy.url.removesuffix("/v1"))
        # Only the proxy can resolve this name.
        assert await text_of(remote("http://model.invalid/v1")) == "Hello"
        assert proxy.num_connections == 1


@pytest.mark.parametrize("how", ["NO_PROXY", "trust_env"])
async def test_a_proxy_can_be_bypassed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(well) as proxy, network(well) as far:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        if how == "NO_PROXY":
            monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        lm = remote(far.url, trust_env=how != "trust_env")
        assert await text_of(lm) == "Hello"
        assert (proxy.num_connections, far.num_connections) == (0, 1)


async def test_a_proxy_that_cannot_be_reached_is_named_as_a_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(LMError, match=r'sets a proxy.*NO_PROXY.*"trust_env"'):
        await text_of(remote("http://model.invalid/v1"))
    with pytest.raises(LMError) as caught:
        await text_of(remote("http://127.0.0.1:9/v1", trust_env=False))
    assert "proxy" not in str(caught.value)


async def test_an_invalid_proxy_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "ftp://me:secret@proxy")
    with pytest.raises(RefusedError, match=r'_PROXY must be.*"trust_env" to false') as caught:
        await text_of(remote("http://model.invalid/v1"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["[::1]", "10.0.0.1,localhost:port"])
async def test_an_invalid_no_proxy_is_reported(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", value)
    with pytest.raises(RefusedError, match=r'NO_PROXY is invalid.*"trust_env" to false'):
        await text_of(remote("http://model.invalid/v1"))
    monkeypatch.setenv("HTTPS_PROXY", "ftp://me:secret@proxy")
    with pytest.raises(RefusedError, match="HTTPS_PROXY must be a valid proxy address"):
        await text_of(remote("http://model.invalid/v1"))


# --------------------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for ``localhost`` in a folder of certificates."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certs").mkdir()
    make = "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out certs/c.pem -days 3"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    for arguments in (f"{make} {name}", "rehash certs"):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
    return folder / "certs" / "c.pem"


@asynccontextmanager
async def secure(certificate: Path) -> AsyncIterator[str]:
    """The address of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.parents[1] / "k.pem")
    async with network(well, context) as far:
        yield far.url.replace("http://127.0.0.1", "https://localhost")


@needs_openssl
@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_certificate_authority_of_the_environment_is_trusted(
    how: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = certificate if how == "SSL_CERT_FILE" else certificate.parent
    monkeypatch.setenv(how, str(named))
    async with secure(certificate) as url:
        assert await text_of(remote(url)) == "Hello"


@needs_openssl
async def test_an_unknown_certificate_authority_is_an_error_that_names_the_variable(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secure(certificate) as url:
        with pytest.raises(RefusedError, match="set SSL_CERT_FILE"):
            await text_of(remote(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(
            RefusedError, match='ignored because the card sets "trust_env" to false'
        ):
            await text_of(remote(url, trust_env=False))
        with pytest.raises(RefusedError, match="use the host name of the certificate"):
            await text_of(remote(url.replace("localhost", "127.0.0.1")))


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("SSL_CERT_FILE", "missing"),
        ("SSL_CERT_FILE", "folder"),
        ("SSL_CERT_FILE", "file"),
        ("SSL_CERT_DIR", "missing"),
        ("SSL_CERT_DIR", "file"),
    ],
)
def test_unreadable_certificates_are_an_error(
    variable: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "certificates"
    if kind == "folder":
        named.mkdir()
    elif kind == "file":
        named.write_text("no certificate")
    monkeypatch.setenv(variable, str(named))
    with pytest.raises(UsageError, match=rf'{variable} .*{named}.*"trust_env" to false'):
        remote("https://localhost/v1")
    remote("http://localhost/v1")  # needs none
    remote("https://localhost/v1", trust_env=False)


def test_of_several_folders_of_certificates_one_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'none'}:{tmp_path}")
    remote("https://localhost/v1")
