"""Files and packages of plug-ins for tests."""

from __future__ import annotations

from pathlib import Path

SMALL = '''
import archon

@archon.node("first-two", keeps=2)
def first_two(candidates):
    """Keeps the first two candidates."""
    return candidates[:2]

@archon.scorer("says-answer")
def says_answer(text):
    return "answer" in text
'''
ARCHITECTURE = {
    "version": 1,
    "name": "with-plugin",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 4},
        "kept": {"type": "first-two", "inputs": ["draft"]},
    },
    "output": "kept",
}


def install(folder: Path, name: str, source: str, value: str) -> None:
    """Write a package as an installer does: a module, and metadata with an entry point."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(f"[archon.plugins]\n{name} = {value}\n")
