"""Check that real clients work with `archon serve`, and write the table of docs/guides/clients.md.

Each client is installed into an environment of its own, and its program in `client_checks/` is run
against a server on this machine. A program prints `done: PART` for each part that works. Parts
between `begin configuration` and `end configuration` are what the documentation shows.

    python scripts/clients.py                      # all clients
    python scripts/clients.py --only lm-eval llm   # some of them
    python scripts/clients.py --write              # and write the table

Environments are kept, so a second call takes a minute. A client that cannot be installed, because
a package index is unreachable, is skipped.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKS = Path(__file__).parent / "client_checks"
PAGE = ROOT / "docs/guides/clients.md"
SERVED = ("self-consistency", "single", "scripted", "smollm2-135m", "--model", "solver=scripted")
ADDRESS = "127.0.0.1:8000"
"""The server's address in the programs. It is replaced by that of the test's server."""
INSTALL_SECONDS, CHECK_SECONDS = 1200, 300
BEGIN, END = "<!-- begin clients -->", "<!-- end clients -->"


@dataclass(frozen=True)
class Client:
    """A client, the packages that it needs, and its program in ``client_checks``.

    The first package is the client itself, whose version the table shows.
    """

    name: str
    packages: tuple[str, ...]
    check: str
    parts: tuple[str, ...]
    """The parts that the program prints when they work."""

    @property
    def is_node(self) -> bool:
        """True if the packages are installed by npm."""
        return self.check.endswith(".mjs") or self.packages[0] == "promptfoo"

    @property
    def package(self) -> str:
        """Name of the client's own package, without extras."""
        return self.packages[0].partition("[")[0]

    def configuration(self) -> str:
        """Return the part of the program that the documentation shows."""
        text = (CHECKS / self.check).read_text()
        found = re.search(
            r"begin configuration\n(.*?)\n(?:#|//) end configuration", text, re.DOTALL
        )
        assert found is not None, self.check
        return found[1]


CLIENTS = (
    Client(
        "openai (Python)",
        ("openai",),
        "openai_python.py",
        ("chat", "stream", "models", "responses", "completions with echo"),
    ),
    Client("openai (Node)", ("openai",), "openai_node.mjs", ("chat", "stream", "responses")),
    Client(
        "lm-eval",
        ("lm_eval[api]",),
        "lm_eval_command.sh",
        ("chat", "generation", "log-likelihoods"),
    ),
    Client("Inspect", ("inspect-ai", "openai"), "inspect_command.sh", ("eval", "epochs")),
    Client("promptfoo", ("promptfoo",), "promptfoo_command.sh", ("eval",)),
    Client("LangChain", ("langchain-openai",), "langchain_client.py", ("chat", "stream", "batch")),
    Client(
        "LlamaIndex",
        ("llama-index-llms-openai-like",),
        "llama_index_client.py",
        ("chat", "stream", "complete"),
    ),
    Client(
        "Vercel AI SDK",
        ("ai", "@ai-sdk/openai-compatible", "@ai-sdk/openai"),
        "ai_sdk.mjs",
        ("chat", "stream", "responses"),
    ),
    Client("llm", ("llm",), "llm_command.sh", ("stream", "chat", "conversation")),
    Client("litellm", ("litellm",), "litellm_client.py", ("chat", "stream", "errors")),
    Client("DSPy", ("dspy",), "dspy_client.py", ("call", "several answers", "predict")),
    Client("optillm", ("optillm",), "optillm_proxy.sh", ("proxy", "best of n")),
)


def environment(client: Client, folder: Path) -> Path | None:
    """Create the client's environment; return its folder, or None if packages are unreachable."""
    home = folder / re.sub(r"\W+", "-", client.name.lower()).strip("-")
    stamp = home / ".installed"
    if stamp.exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    if client.is_node:
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--no-fund", "--no-audit", "--silent", *client.packages]
    else:
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [home / "bin/python", "-m", "pip", "install", "--quiet"]
        constraints = ["-c", ROOT / "scripts/client_checks/constraints.txt"]
        command = list(map(str, [*pip, *constraints, *client.packages]))
    try:
        done = subprocess.run(
            command, cwd=home, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{client.name}: cannot be installed: {error}", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{client.name}: cannot be installed:\n{done.stderr[-1000:]}", file=sys.stderr)
        return None
    stamp.touch()
    return home


def version(client: Client, home: Path) -> str:
    """Return the version of a client in its environment."""
    if client.is_node:
        text = (home / "node_modules" / client.package / "package.json").read_text()
        found = re.search(r'"version":\s*"([^"]+)"', text)
        return "" if found is None else found[1]
    code = f"from importlib.metadata import version; print(version({client.package!r}))"
    command = [home / "bin/python", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def check(client: Client, home: Path, address: str) -> tuple[list[str], str]:
    """Run a client's program; return the parts that worked, and the output if one did not."""
    source = (CHECKS / client.check).read_text().replace(ADDRESS, address)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        variables = os.environ | {
            "PATH": f"{home / 'bin'}:{home / 'node_modules/.bin'}:{os.environ['PATH']}",
            "HOME": name,
            "LLM_USER_PATH": str(work / "llm"),
            "NO_COLOR": "1",
        }
        variables.pop("PYTHONPATH", None)
        # Node looks for packages next to the program.
        program = (home if client.check.endswith(".mjs") else work) / client.check
        program.write_text(source)
        runner = {".py": str(home / "bin/python"), ".mjs": "node", ".sh": "bash"}[program.suffix]
        options = ["-euo", "pipefail"] if runner == "bash" else []
        try:
            done = subprocess.run(
                [runner, *options, program],
                cwd=work,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=CHECK_SECONDS,
            )
            output, failed = done.stdout, done.returncode != 0
        except subprocess.TimeoutExpired as error:
            output, failed = str(error.stdout or ""), True
    parts = re.findall(r"^done: (.*)$", output, re.MULTILINE)
    return parts, output if failed or tuple(parts) != client.parts else ""


@contextmanager
def server() -> Iterator[str]:
    """Start `archon serve` on a free port; yield its address."""
    command = [sys.executable, "-m", "archon", "serve", *SERVED, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                    yield found[1]
                    return
            raise SystemExit("archon serve did not start")
        finally:
            process.terminate()


def table(rows: Sequence[tuple[Client, str, str]]) -> str:
    """Return the table of clients and the configuration of each, in Markdown."""
    lines = ["| client | version | what was run |", "|---|---|---|"]
    lines += [f"| {client.name} | {found} | {result} |" for client, found, result in rows]
    kinds = {".py": "python", ".mjs": "text", ".sh": "text"}
    for client, _, _ in rows:
        kind = kinds[Path(client.check).suffix]
        skip = '<!--- skip: next "needs another package" -->\n' if kind == "python" else ""
        fence = f"```{kind}\n{client.configuration()}\n```"
        lines.append(f"\n## {client.name}\n\n{skip}{fence}")
    return "\n".join(lines)


def main() -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CLIENT")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/archon-clients")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    rows: list[tuple[Client, str, str]] = []
    failed = False
    with server() as address:
        for client in (one for one in CLIENTS if one.name in given.only):
            home = environment(client, given.folder)
            if home is None:
                rows.append((client, "", "not installed"))
                continue
            parts, output = check(client, home, address)
            missing = [part for part in client.parts if part not in parts]
            failed = failed or bool(output)
            result = ", ".join(parts) + (f"; **fails: {', '.join(missing)}**" if missing else "")
            rows.append((client, version(client, home), result))
            print(f"{client.name} {rows[-1][1]}: {result}", flush=True)
            if output:
                print(output[-3000:], file=sys.stderr)
    if given.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{rest.partition(END)[2]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
