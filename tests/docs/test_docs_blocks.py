"""Every command, Python block and file of the documentation works as written.

Blocks run in the order of their page, in one empty folder. What a fence means:

- ``sh``: commands; ``console``: commands after ``$ ``, between them what they print.
- ``python``: run in one namespace for the page.
- any language with ``title="NAME"``: a file that the page tells its reader to write.
- ``json``: must be JSON. ``text`` and the rest are not run.

``<!--- skip: next "reason" -->`` skips the next block. Local decoders are replaced by the scripted
model, so that no weights are needed; large numbers of items and trials by small ones; and port 8000
by a free one. A block that ends in ``archon serve`` runs until the page ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import command_server
import pytest
from docs_models import use_scripted_model
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from archon.spec import catalog

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?[^\n]*$\n', re.MULTILINE)
SECONDS_TO_START = 60


class Page:
    """The folder and the processes of one page."""

    def __init__(self, folder: Path, archon: str) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.log = folder / "log"
        tools = folder / "bin"
        tools.mkdir()
        (tools / "archon").write_text(archon)
        (tools / "archon").chmod(0o755)
        (tools / "python").symlink_to(sys.executable)
        self.environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.servers: list[subprocess.Popen[bytes]] = []

    def parse(self, document: Document) -> Iterator[Region]:
        for region in RawFencedCodeBlockLexer(FENCE)(document):
            yield Region(region.start, region.end, region.lexemes, self.run)

    def run(self, example: Example) -> None:
        language, title = example.parsed["language"], example.parsed["title"]
        source = example.parsed["source"]
        if title is not None:
            path = self.folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        elif language == "python":
            padding = "\n" * (example.line + source.line_offset)
            exec(compile(padding + self.local(source), example.path, "exec"), example.namespace)
        elif language == "json":
            json.loads(source)
        elif language in ("sh", "console"):
            self.shell(self.local(commands(source) if language == "console" else source))
        else:
            assert language in ("text", "diff", "yaml", "cpp"), (
                f"a fence without a language: {example}"
            )

    def local(self, source: str) -> str:
        """Return a source whose servers listen on a free port, even those that name none."""
        source = re.sub(
            r"^archon serve (?!.*--port)(.*)$", r"archon serve \1 --port 8000", source, flags=re.M
        )
        return source.replace("8000", str(self.port))

    def shell(self, source: str) -> None:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", source],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if source.rstrip().rpartition("\n")[2].startswith("archon serve"):
            self.servers.append(process)
            self.wait_for_server(process)
        else:
            code = process.wait()
            assert code == 0, f"exit code {code} of\n{source}\n{self.log.read_text()[-4000:]}"

    def wait_for_server(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until:
            assert process.poll() is None, self.log.read_text()[-4000:]
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError(self.log.read_text()[-4000:])

    def close(self) -> None:
        for server in self.servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def commands(source: str) -> str:
    """The commands of a console block. A line that ends in a backslash goes on."""
    lines = []
    continues = False
    for line in source.splitlines():
        if line.startswith("$ ") or continues:
            lines.append(line.removeprefix("$ "))
            continues = line.endswith("\\")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def archon_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The text of a program ``archon``, which sends its commands to a server."""
    path = tmp_path_factory.mktemp("commands") / "socket"
    command = [sys.executable, command_server.__file__, str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield command_server.CLIENT.format(path=str(path))
        finally:
            server.kill()


@pytest.fixture
def page(tmp_path: Path, archon_program: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page(tmp_path, archon_program)
    monkeypatch.chdir(page.folder)
    monkeypatch.setattr(catalog, "find", catalog.find)  # restored afterwards
    use_scripted_model()
    yield page
    page.close()


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
@pytest.mark.filterwarnings("default")
def test_every_block_of_a_page_runs(path: Path, page: Page) -> None:
    document = Sybil([page.parse, SkipParser()]).parse(path)
    for example in document.examples():
        try:
            example.evaluate()
        except unittest.SkipTest:
            continue
