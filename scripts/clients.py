"""Check that real clients work with `archon serve`, and write the table of docs/guides/clients.md.

Each client is installed into an environment of its own, and its program in `client_checks/` is run
against a server on this machine. A program prints `done: PART` for each part that works. Parts
between `begin configuration` and `end configuration` are what the documentation shows.

    python scripts/clients.py                      # all clients
    python scripts/clients.py --only lm-eval llm   # some of them
    python scripts/clients.py --write              # and write the table

Environments and results are kept in a folder (`--folder`), so a second call takes minutes, and
`--only` with `--write` keeps the other rows of the table. A client that cannot be installed,
because a package index is unreachable, is skipped. Each client gives one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from archon.engine.files.gguf import GGUFFile
from archon.lm.local.tokenizer import read_tokenizer_config
from archon.spec.model import LocalCard
from archon.spec.reader import load_model_card
from archon.weights import pull

ROOT = Path(__file__).parents[1]
CHECKS = Path(__file__).parent / "client_checks"
PAGE = ROOT / "docs/guides/clients.md"
SERVED = (
    *("self-consistency", "single", "scripted", "smollm2-135m", "qwen2.5-coder-0.5b"),
    *("all-minilm-l6-v2", "--model", "solver=scripted"),
)
ADDRESS = "127.0.0.1:8000"
"""The server's address in the programs. It is replaced by that of the test's server."""
INSTALL_SECONDS, CHECK_SECONDS = 1800, 600
RESULTS = "results.json"
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
    dependencies: tuple[str, ...] = ()
    """The dependencies to install, if not all that the first package states."""
    note: str = ""
    """A sentence above the configuration on the page."""

    @property
    def is_node(self) -> bool:
        """True if the packages are installed by npm."""
        return self.check.endswith(".mjs") or self.packages[0] == "promptfoo"

    @property
    def package(self) -> str:
        """Name of the client's own package, without extras."""
        return self.packages[0].partition("[")[0]

    def configuration(self) -> str:
        """Return the parts of the program that the documentation shows."""
        text = (CHECKS / self.check).read_text()
        found = re.findall(
            r"begin configuration\n(.*?)\n(?:#|//) end configuration", text, re.DOTALL
        )
        assert found, self.check
        return "\n".join(found)


CLIENTS = (
    Client(
        "openai (Python)",
        ("openai",),
        "openai_python.py",
        (
            *("chat", "stream", "models", "errors", "JSON schema with logprobs", "tool calls"),
            *("progress as reasoning", "responses", "completions with echo", "embeddings"),
        ),
    ),
    Client(
        "openai (Node)",
        ("openai",),
        "openai_node.mjs",
        ("chat", "stream", "errors", "responses"),
    ),
    Client(
        "lm-eval",
        ("lm_eval[api]", "transformers"),
        "lm_eval_command.sh",
        ("chat", "generation", "log-likelihoods"),
        note="lm-eval sends temperature 0 if `--gen_kwargs` does not say otherwise. All samples of "
        "an architecture are then the same.\nLog-likelihoods need a local model, and the folder of "
        "its tokenizer, which is the model's own folder for safetensors.",
    ),
    Client("Inspect", ("inspect-ai", "openai"), "inspect_command.sh", ("eval", "epochs")),
    Client(
        "promptfoo",
        ("promptfoo",),
        "promptfoo_command.sh",
        ("eval",),
        note="promptfoo sends temperature 0 if the configuration names no other.",
    ),
    Client(
        "LangChain",
        ("langchain-openai",),
        "langchain_client.py",
        ("chat", "stream", "batch", "tools", "structured output", "embeddings"),
    ),
    Client(
        "LlamaIndex",
        ("llama-index-llms-openai-like",),
        "llama_index_client.py",
        ("chat", "stream", "complete"),
        note="LlamaIndex sends temperature 0.1 if the program names no other.",
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
    Client(
        "optillm",
        ("optillm",),
        "optillm_proxy.sh",
        ("proxy", "best of n"),
        dependencies=(  # those of the proxy, without those of its local models
            *("flask", "openai", "cerebras_cloud_sdk", "azure-identity", "litellm", "numpy"),
            *("networkx", "aiohttp", "sympy", "z3-solver<=4.15.4.0", "pyyaml", "math-verify"),
        ),
        note="A proxy in front of Archon: the client asks optillm, and `bon-` in front of the "
        "name of the model chooses its method.",
    ),
)


def environment(client: Client, folder: Path) -> Path | None:
    """Create the client's environment; return its folder, or None if packages are unreachable."""
    home = folder / re.sub(r"\W+", "-", client.name.lower()).strip("-")
    stamp, packages = home / ".installed", "\n".join(client.packages)
    if stamp.exists() and stamp.read_text() == packages:
        return home
    home.mkdir(parents=True, exist_ok=True)
    if client.is_node:
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        commands = [["npm", "install", "--no-fund", "--no-audit", "--silent", *client.packages]]
    else:
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
        constraints = ["-c", str(CHECKS / "constraints.txt")]
        if client.dependencies:
            commands = [[*pip, "--no-deps", *client.packages]]
            commands += [[*pip, *constraints, *client.dependencies]]
        else:
            commands = [[*pip, *constraints, *client.packages]]
    for command in commands:
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
    stamp.write_text(packages)
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
        write_tokenizer(work / "tokenizer")
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


def write_tokenizer(folder: Path) -> None:
    """Write the tokenizer of a served model as transformers reads it; lm-eval counts tokens."""
    loaded = load_model_card("smollm2-135m")
    assert isinstance(loaded.spec, LocalCard)
    pieces = read_tokenizer_config(GGUFFile(pull(loaded.spec, loaded.base_dir))).pieces
    folder.mkdir()
    pieces.tokenizer.save(str(folder / "tokenizer.json"))
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))


@contextmanager
def server() -> Iterator[str]:
    """Start `archon serve` on a free port; yield its address."""
    command = [sys.executable, "-m", "archon", "serve", *SERVED, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, cwd=ROOT)
        try:
            while process.poll() is None:
                log.seek(0)
                if found := re.search(r"http://(127\.0\.0\.1:\d+)", log.read()):
                    yield found[1]
                    return
                time.sleep(0.2)
            log.seek(0)
            raise SystemExit(f"archon serve did not start:\n{log.read()}")
        finally:
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class Result:
    """What a client did in its last run."""

    client: str
    version: str
    works: list[str]
    fails: list[str]

    def row(self) -> str:
        """Return the row of the table."""
        run = ", ".join(self.works) or "nothing"
        run += f"; **fails: {', '.join(self.fails)}**" if self.fails else ""
        return f"| {self.client} | {self.version} | {run} |"


def run(client: Client, folder: Path, address: str) -> Result | None:
    """Install a client and run its program; return None if it cannot be installed."""
    home = environment(client, folder)
    if home is None:
        return None
    works, output = check(client, home, address)
    fails = [part for part in client.parts if part not in works]
    if output:
        print(output[-3000:], file=sys.stderr)
    return Result(client.name, version(client, home), works, fails or ["exit code"] * bool(output))


def stored(folder: Path) -> dict[str, Result]:
    """Return the results of earlier runs by client."""
    path = folder / RESULTS
    rows = json.loads(path.read_text()) if path.exists() else {}
    return {name: Result(**row) for name, row in rows.items()}


def table(results: Mapping[str, Result]) -> str:
    """Return the table of clients and the configuration of each, in Markdown."""
    lines = ["| client | version | what was run |", "|---|---|---|"]
    missing = Result("", "", [], ["not run"])
    lines += [replace(results.get(c.name, missing), client=c.name).row() for c in CLIENTS]
    kinds = {".py": "python", ".mjs": "text", ".sh": "text"}
    for client in CLIENTS:
        kind = kinds[Path(client.check).suffix]
        skip = '<!--- skip: next "needs another package" -->\n' if kind == "python" else ""
        lines.append(f"\n## {client.name}\n")
        lines += [f"{note}\n" for note in filter(None, [client.note])]
        install = "npm install" if client.is_node else "pip install"
        packages = " ".join(f'"{name}"' if "[" in name else name for name in client.packages)
        lines.append(f"`{install} {packages}`\n\n{skip}```{kind}\n{client.configuration()}\n```")
    return "\n".join(lines)


def main() -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CLIENT")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/archon-clients")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    failed = False
    with server() as address:
        for client in (one for one in CLIENTS if one.name in given.only):
            result = run(client, given.folder, address)
            if result is None:
                continue
            failed = failed or bool(result.fails)
            print(json.dumps(asdict(result)), flush=True)
            results = stored(given.folder) | {client.name: result}
            text = json.dumps({name: asdict(one) for name, one in results.items()}, indent=2)
            (given.folder / RESULTS).write_text(text)
    if given.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        shown = f"{BEGIN}\n\n{table(stored(given.folder))}\n\n{END}"
        PAGE.write_text(f"{before}{shown}{rest.partition(END)[2]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
