"""Compare Archon's scores with those of lm-eval and Inspect, item by item.

    python scripts/agreement.py --model scripted --python ENVIRONMENT/bin/python

``archon serve`` serves a model. lm-eval and Inspect ask it the same questions as ``archon eval``,
with the same prompts and greedy decoding, and score the texts. For each scorer, the script prints
on how many items the scores are the same. ``--python`` names the interpreter of an environment with
``lm_eval`` 0.4.13 and ``inspect_ai`` 0.3.285, by default this one. All rows are made up here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_TOKENS = 128
PROMPT = (
    'Question: {question}\nLet\'s think step by step. End with the line "#### N", where N is the '
    "answer."
)
CHOICE_PROMPT = (
    "Answer the following multiple choice question. The entire content of your response should be "
    "of the following format: 'ANSWER: $LETTER' (without quotes) where LETTER is one of A,B,C,D."
    "\n\n{question}\n\nA) {A}\nB) {B}\nC) {C}\nD) {D}"
)
"""The prompt that Inspect's ``multiple_choice`` makes of a question with four options."""

LM_EVAL_SCORERS = {
    "lm-eval-strict-match": r"#### (\-?[0-9\.\,]+)",
    "lm-eval-cot-strict-match": r"The answer is (\-?[0-9\.\,]+).",
    "lm-eval-flexible-extract": r"(-?[$0-9.,]{2,})|(-?[0-9]+)",
}
"""Scorer of Archon → the pattern of the filter of the same name in lm-eval's GSM8K tasks."""
INSPECT_SCORERS: Mapping[str, tuple[Any, str]] = {
    "inspect-match:numeric=true": (
        {"name": "inspect-match", "numeric": True},
        "match(numeric=True)",
    ),
    "inspect-match": ("inspect-match", "match()"),
    "inspect-match:any": ({"name": "inspect-match", "location": "any"}, "match('any')"),
    "inspect-includes": ("inspect-includes", "includes()"),
    "inspect-exact": ("inspect-exact", "exact()"),
    "inspect-f1": ("inspect-f1", "f1()"),
    "inspect-answer:line": ({"name": "inspect-answer", "pattern": "line"}, "answer('line')"),
}
"""Label of a scorer → how a card and how an Inspect task name it."""

_STORIES = (
    "Tom has {a} apples and buys {b} bags with {c} apples each. How many apples has he?",
    "A shop sells {a} pens on Monday and {b} on Tuesday, and {c} are returned. How many pens are "
    "sold and not returned?",
    "What is {a} + {b} * {c}?",
    "What is {a} - {b} + {c}?",
)


def rows(number: int) -> list[dict[str, Any]]:
    """Return made-up problems with the columns of GSM8K, and four options for each."""
    generator, made = random.Random(22), []
    for index in range(number):
        a, b, c = (generator.randint(2, 900), generator.randint(2, 40), generator.randint(2, 30))
        story = index % len(_STORIES)
        target = (a + b * c, a + b - c, a + b * c, a - b + c)[story]
        others = generator.sample([n for n in range(target - 9, target + 10) if n != target], 3)
        options = generator.sample([target, *others], 4)
        made.append(
            {
                "id": _row(index),
                "question": _STORIES[story].format(a=a, b=b, c=c),
                "answer": f"We calculate the result.\n#### {target:,}",
                "right": "ABCD"[options.index(target)],
                **{letter: str(n) for letter, n in zip("ABCD", options, strict=True)},
            }
        )
    return made


# ------------------------------------------------------------------------------------ the tools


@contextmanager
def served(model: str) -> Iterator[tuple[str, str]]:
    """Serve a model; yield the base URL and the model's name."""
    command = [sys.executable, "-m", "archon", "serve", model, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            ready = json.loads(server.stdout.readline())
            yield f"{ready['address']}/v1", ready["models"][0]
        finally:
            server.terminate()


def ask_lm_eval(python: str, folder: Path, url: str, model: str) -> dict[str, dict[str, float]]:
    """Run lm-eval; return scorer → row → score."""
    numbers = [r",", r"\$", r"(?s).*#### ", r"\.$"]
    task = {
        "task": "agreement",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": PROMPT.replace("{question}", "{{question}}"),
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "until": ["Question:"],
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": MAX_TOKENS,
        },
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "ignore_case": True,
                "ignore_punctuation": False,
                "regexes_to_ignore": numbers,
            }
        ],
        "filter_list": [
            {
                "name": name,
                "filter": [
                    {
                        "function": "regex",
                        "regex_pattern": pattern,
                        "group_select": -1 if "flexible" in name else 0,
                    },
                    {"function": "take_first"},
                ],
            }
            for name, pattern in LM_EVAL_SCORERS.items()
        ],
        "metadata": {"version": 3.0},
    }
    (folder / "agreement.yaml").write_text(json.dumps(task))  # JSON is YAML
    arguments = f"model={model},base_url={url}/chat/completions,num_concurrent=16,max_retries=1"
    command = [python, "-m", "lm_eval", "run", "--model", "local-chat-completions"]
    command += ["--model_args", arguments, "--tasks", "agreement", "--include_path", str(folder)]
    command += ["--apply_chat_template", "--output_path", str(folder / "lm-eval"), "--log_samples"]
    _run(command, folder)
    (file,) = (folder / "lm-eval").rglob("samples_agreement_*.jsonl")
    scores: dict[str, dict[str, float]] = {name: {} for name in LM_EVAL_SCORERS}
    for line in file.read_text().splitlines():
        sample = json.loads(line)
        scores[sample["filter"]][_row(sample["doc_id"])] = sample["exact_match"]
    return scores


_INSPECT_TASKS = """\
import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import answer, choice, exact, f1, includes, match
from inspect_ai.solver import generate, multiple_choice

ROWS = [json.loads(line) for line in Path(__file__).with_name("rows.jsonl").open()]
PROMPT = {prompt!r}


@task
def agreement():
    samples = [
        Sample(
            PROMPT.replace("{{question}}", row["question"]),
            id=row["id"],
            target=row["answer"].rpartition("####")[2].strip(),
        )
        for row in ROWS
    ]
    return Task(samples, solver=generate(), scorer=[{scorers}])


@task
def choices():
    samples = [
        Sample(
            row["question"],
            id=row["id"],
            choices=[row[letter] for letter in "ABCD"],
            target=row["right"],
        )
        for row in ROWS
    ]
    return Task(samples, solver=multiple_choice(), scorer=choice())
"""


def ask_inspect(python: str, folder: Path, url: str, model: str) -> dict[str, dict[str, float]]:
    """Run Inspect; return scorer → row → score."""
    scorers = ", ".join(name for _, name in INSPECT_SCORERS.values())
    text = _INSPECT_TASKS.format(prompt=PROMPT, scorers=scorers)
    (folder / "tasks.py").write_text(text)
    command = [python, "-m", "inspect_ai", "eval", "tasks.py@agreement", "tasks.py@choices"]
    command += ["--model", f"openai-api/archon/{model}", "--temperature", "0"]
    command += ["--max-tokens", str(MAX_TOKENS), "--stop-seqs", "Question:", "--max-connections"]
    command += ["16", "--log-format", "json", "--log-dir", "inspect", "--display", "none"]
    _run(command, folder, ARCHON_BASE_URL=url, ARCHON_API_KEY="none")
    scores: dict[str, dict[str, float]] = {}
    for file in (folder / "inspect").glob("*.json"):
        log = json.loads(file.read_text())
        if log["status"] != "success":
            raise SystemExit(f"Inspect failed: {log.get('error')}")
        is_choice = log["eval"]["task"].endswith("choices")
        labels = ["inspect-choice"] if is_choice else list(INSPECT_SCORERS)
        for sample in log["samples"]:
            # Scores have the order of the scorers; further ones of a name have a number.
            for label, score in zip(labels, sample["scores"].values(), strict=True):
                value = {"C": 1, "I": 0, "N": 0}.get(score["value"], score["value"])
                scores.setdefault(label, {})[sample["id"]] = value
    return scores


def ask_archon(folder: Path, model: str) -> dict[str, dict[str, float]]:
    """Run ``archon eval`` on the same rows; return scorer → row → score."""
    scores: dict[str, dict[str, float]] = {}
    number = {
        "answer": "number",
        "answer_after": "####",
        "fields": {"id": "id"},
        "score": [*LM_EVAL_SCORERS, *(given for given, _ in INSPECT_SCORERS.values())],
    }
    choice = {
        "answer": "choice",
        "fields": {"id": "id", "question_template": CHOICE_PROMPT, "answer": "right"},
        "score": "inspect-choice",
    }
    for name, prompt, parts in (("numbers", PROMPT, number), ("choices", "{question}", choice)):
        sampling = {"temperature": 0, "max_tokens": MAX_TOKENS, "stop": ["Question:"]}
        node = {"type": "generator", "model": "solver", "prompt": {"text": prompt}}
        architecture = {
            "version": 1,
            "name": "single",
            "models": {"solver": "scripted"},
            "nodes": {"draft": node | {"sampling": sampling}},
            "output": "draft",
        }
        card = {"version": 1, "name": name, "source": {"jsonl": "rows.jsonl"}, **parts}
        (folder / f"{name}.json").write_text(json.dumps(card))
        (folder / f"{name}-single.json").write_text(json.dumps(architecture))
        command = [sys.executable, "-m", "archon", "eval", f"{name}-single.json", f"{name}.json"]
        command += ["--split", "all", "--model", model, "--output", f"archon-{name}", "--no-cache"]
        _run(command, folder)
        exported = _run([sys.executable, "-m", "archon", "export", f"archon-{name}"], folder)
        first = parts["score"] if isinstance(parts["score"], str) else parts["score"][0]
        for record in map(json.loads, exported.splitlines()):
            found = {first: record["score"], **record["other_scores"]}
            for label, value in found.items():
                scores.setdefault(str(label), {})[record["item"]] = value
    return scores


def _row(index: int) -> str:
    return f"row-{index + 1}"


def _run(command: list[str], folder: Path, **environment: str) -> str:
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "none"} | environment
    done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True)
    if done.returncode != 0:
        output = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{output}")
    return done.stdout


# ----------------------------------------------------------------------------------- comparison


def compare(model: str, number: int, python: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Ask all three; return scorer → number of items, equal scores, right ones and differences."""
    lines = [json.dumps(row) for row in rows(number)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    ours = ask_archon(folder, model)
    with served(model) as (url, name):
        theirs = ask_lm_eval(python, folder, url, name) | ask_inspect(python, folder, url, name)
    result = {}
    for label, of_row in theirs.items():
        different = [
            row for row, value in of_row.items() if abs(value - ours[label].get(row, -1)) > 1e-9
        ]
        result[label] = {
            "items": len(of_row),
            "equal": len(of_row) - len(different),
            "right": sum(value == 1 for value in of_row.values()),
            "different": different,
        }
    return result


def main() -> None:
    """Compare, and print a table or, with ``--json``, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="scripted", help="model string, card or file")
    parser.add_argument("--rows", type=int, default=200, help="number of rows")
    parser.add_argument("--python", default=sys.executable, help="interpreter with both tools")
    parser.add_argument("--folder", type=Path, help="new folder for rows, tasks, logs and runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = compare(options.model, options.rows, options.python, folder.resolve())
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'scorer':<28}{'items':>6}{'equal':>7}{'right':>7}")
    for label, row in result.items():
        print(f"{label:<28}{row['items']:>6}{row['equal']:>7}{row['right']:>7}")


if __name__ == "__main__":
    main()
