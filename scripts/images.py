"""Make the images of the README and the documentation from real runs.

``scripts/images.py`` runs the commands of the tutorial with the default model in a new folder, and
writes what they print as SVG and the pages of ``archon view`` as PNG into ``docs/images``. It needs
the extra ``dev`` and Chromium (Debian's package, or ``playwright install chromium``). With
``--model scripted`` it needs no weights.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from diagram import svg
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

from archon.graph.loading import Loader

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS = 100
QUESTION = "Nora has 14 pencils. She buys 3 packs of 6 and gives away 5. How many are left?"
SHOWN = "rank-fuse"


def main() -> None:
    """Run the commands and write every image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="Model for every role.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="Folder for the images.")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    solver = ["--model", f"solver={options.model}"] if options.model else []
    both = [*solver, "--model", f"judge={options.model}"] if options.model else []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        record("run", ["run", "self-consistency", QUESTION, *solver], output)
        record("cost", ["show", SHOWN, "--cost"], output)
        measure = ["self-consistency", "arithmetic", "--limit", "50", *solver]
        record("eval", ["eval", *measure, "--output", "runs/votes"], output)
        record(
            "compare",
            ["compare", "single", "self-consistency", "-b", "arithmetic", "--limit", "50", *solver],
            output,
        )
        archon("eval", SHOWN, "smoke", "--limit", "12", "--output", "runs/fused", *both)
        archon("view", "runs/fused", "--output", "fused.html")
        search = ["small", "arithmetic", "--trials", "6", "--limit", "20", "--final-limit", "20"]
        archon("search", *search, "--study", "first", *solver)
        archon("view", "runs/first", "--output", "study.html")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for scheme in ("light", "dark"):
                screenshot(browser, Path("fused.html"), output / f"run-{scheme}.png", scheme)
                screenshot(browser, Path("study.html"), output / f"study-{scheme}.png", scheme)
            with_its_page(browser, Path("fused.html"), output / "architecture-and-page.png")
            browser.close()


def archon(*arguments: str) -> str:
    """Run a command and return what it prints, with colours."""
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "TTY_INTERACTIVE": "0",  # progress as lines, not as a display that moves
    }
    environment.pop("NO_COLOR", None)
    done = subprocess.run(
        [sys.executable, "-m", "archon", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"archon {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def record(name: str, arguments: list[str], output: Path) -> None:
    """Run a command, and write its terminal output as ``NAME.svg``."""
    printed = archon(*arguments)
    shown = [quoted(argument) for argument in arguments]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ archon {' '.join(shown)}", style="bold"))
    console.print(Text.from_ansi(printed.rstrip()))
    image = console.export_svg(title="archon")
    # The page must not load a font from another host.
    image = re.sub(r"@font-face \{.*?\}", "", image, flags=re.DOTALL)
    (output / f"{name}.svg").write_text(image, encoding="utf-8")


def quoted(argument: str) -> str:
    """Quote an argument as a reader would type it."""
    return f'"{argument}"' if " " in argument else argument


def screenshot(browser: Browser, page_file: Path, target: Path, scheme: Any) -> None:
    """Write the top of a page as PNG."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=scheme, device_scale_factor=1
    )
    page = context.new_page()
    page.goto(page_file.resolve().as_uri())
    page.wait_for_load_state("load")
    page.screenshot(path=target)
    context.close()


def with_its_page(browser: Browser, page_file: Path, target: Path) -> None:
    """Write one image: the graph of an architecture above the page of one of its answers."""
    context = browser.new_context(viewport={"width": 1000, "height": 760}, color_scheme="light")
    page = context.new_page()
    page.goto(page_file.resolve().as_uri())
    page.locator("tr.row").first.click()
    page.wait_for_timeout(500)
    page.screenshot(path="answer.png")
    graph = svg(Loader().architecture(SHOWN).graph)
    both = Path("both.html")
    both.write_text(
        "<style>body{margin:0;padding:24px;background:#fff;color:#222;font-family:sans-serif}"
        "figure{margin:0 0 20px}img{border:1px solid #ccc;border-radius:6px;width:1000px}</style>"
        f"<figure>{graph}</figure><img src='answer.png'>",
        encoding="utf-8",
    )
    page.set_viewport_size({"width": 1050, "height": 700})
    page.goto(both.resolve().as_uri())
    page.wait_for_load_state("load")
    page.screenshot(path=target, full_page=True)
    context.close()


if __name__ == "__main__":
    main()
