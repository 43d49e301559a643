"""The check of the machine and the installation."""

from __future__ import annotations

import httpx
import pytest
from cli_runner import Cli

from archon.cli import doctor_checks


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(httpx, "head", fail)


def found(cli: Cli, *options: str) -> dict[str, dict[str, str]]:
    checks = cli.json("doctor", *options)["checks"]
    assert all(check["effect"] for check in checks if check["state"] in ("warning", "broken"))
    return {check["name"]: check for check in checks}


def test_checks(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    monkeypatch.setenv("CXX", "no-such-compiler")
    checks = found(cli)
    assert {"python", "archon", "cpu", "gpu", "memory", "cache", "disk", "model"} <= set(checks)
    assert "secret" not in checks["proxy"]["found"]
    assert checks["SSL_CERT_FILE"]["state"] == "warning"
    assert "network" not in checks
    if "compiler" in checks:
        assert checks["compiler"]["state"] == "warning"
    assert cli("doctor") == 0
    assert "cure: " in cli.stdout
    assert cli.stderr == ""


def test_the_network_is_used_only_if_asked(cli: Cli) -> None:
    assert found(cli, "--online")["network"]["state"] == "warning"


def test_a_missing_package_of_the_base_install_fails(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = doctor_checks._is_installed
    monkeypatch.setattr(
        doctor_checks, "_is_installed", lambda name: name != "httpx" and installed(name)
    )
    assert cli("doctor", "--json") == 1
    assert '"missing: httpx"' in cli.stdout
