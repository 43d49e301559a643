"""Training data for reward models and DPO: replies that were judged or compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from archon.engine.model.reward_head import Goal
from archon.errors import LMError, SpecError, UsageError
from archon.evals.journal import Entry
from archon.evals.run import Run
from archon.lm.local.chat import ChatFormat
from archon.lm.local.reward import reply_ids
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown
from archon.spec.training import RepliesFile, SampledReplies
from archon.storage.atomic import replacing
from archon.train.sft_data import read_messages, read_text
from archon.train.splits import hold_out
from archon.train.trainer import Start
from archon.types import Message

_OUTCOME, _PREFERENCE = {"completion", "correct"}, {"chosen", "rejected"}
_VALUED = _OUTCOME | {"value"}
_MAX_PAIRS = 64
"""Maximum number of pairs per question."""


@dataclass(frozen=True, slots=True)
class TrainingReply:
    """A reply to a conversation."""

    question: str
    """Key of the question. Replies to the same question are either all learned from or all held
    out."""
    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class ReplyDataset:
    """Replies with judgements or preferences."""

    goal: Goal
    replies: tuple[TrainingReply, ...]
    correct: tuple[bool, ...] = ()
    """Whether each reply is right; empty if the replies were compared instead of judged."""
    pairs: tuple[tuple[int, int], ...] = ()
    """For the ``preference`` goal: indices of the chosen and the rejected reply of each pair."""
    reads_conversations: bool = False
    """True if the replies answer conversations, False if they answer single questions."""
    values: tuple[str | None, ...] = ()
    """Value of each judged reply's answer, or None if it has none; empty if the values are
    unknown."""

    @property
    def questions(self) -> list[str]:
        """The distinct questions, in order of appearance."""
        return list(dict.fromkeys(reply.question for reply in self.replies))

    def subset(self, questions: Iterable[str]) -> ReplyDataset:
        """Return a dataset with only the replies to these questions."""
        wanted = frozenset(questions)
        kept = [i for i, reply in enumerate(self.replies) if reply.question in wanted]
        new_index = {old: new for new, old in enumerate(kept)}
        return replace(
            self,
            replies=tuple(self.replies[i] for i in kept),
            correct=tuple(self.correct[i] for i in kept) if self.correct else (),
            pairs=tuple((new_index[a], new_index[b]) for a, b in self.pairs if a in new_index),
            values=tuple(self.values[i] for i in kept) if self.values else (),
        )


def with_goal(replies: ReplyDataset, goal: Goal | None, seed: int) -> ReplyDataset:
    """Return the replies as training data for ``goal``; None keeps the current goal.

    For the ``preference`` goal, each right reply is preferred to each wrong reply to the same
    question. A head could predict judgements from the difficulty of the question alone. It cannot
    predict preferences in this way, because both replies of a pair answer the same question. At
    most 64 random pairs per question are used, selected by ``seed``, so that questions with many
    replies do not outweigh other questions.

    Raises
    ------
    UsageError
        The goal is ``outcome``, but the replies were compared, not judged.
    """
    if goal is None or goal == replies.goal:
        return replies
    if goal == "outcome":
        raise UsageError(
            "the goal 'outcome' needs judged replies, but these were only compared with each other"
        )
    of_question: dict[str, tuple[list[int], list[int]]] = {}
    for index, (reply, is_right) in enumerate(zip(replies.replies, replies.correct, strict=True)):
        right_and_wrong = of_question.setdefault(reply.question, ([], []))
        right_and_wrong[not is_right].append(index)
    pairs: list[tuple[int, int]] = []
    for question, (right, wrong) in of_question.items():
        found = list(product(right, wrong))
        if len(found) > _MAX_PAIRS:
            found = sorted(Random(f"pairs/{seed}/{question}").sample(found, _MAX_PAIRS))
        pairs += found
    return replace(replies, goal=goal, pairs=tuple(pairs))


def split_questions(
    questions: Sequence[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Split distinct questions at random into training questions and held-out questions.

    At least one question is held out, and at least one remains for training.

    Parameters
    ----------
    share
        Share of the questions to hold out, from 0 to 1.
    """
    count = min(max(round(share * len(questions)), 1), len(questions) - 1)
    return hold_out(questions, count, seed, lambda question: question)


def open_replies(data: RepliesFile | SampledReplies, start: Start) -> ReplyDataset:
    """Return the replies in a file, or run an architecture to sample them.

    If the run is not complete, it is started or resumed.

    Raises
    ------
    SpecError
        A file is missing or malformed.
    UsageError
        The run generated no answers.
    """
    if not isinstance(data, SampledReplies):
        return read_replies(start.base_dir / data.path, data.path)
    sampled = start.folder.path / "data.jsonl"
    if not sampled.is_file():
        start.folder.write_record()  # makes the folder resumable from here on
        write_replies(replies_of_run(start.sample_replies(data)), sampled)
    return read_replies(sampled, str(sampled))


def read_replies(path: Path, file: str) -> ReplyDataset:
    """Return the replies of a JSONL file (``archon.spec.training.RepliesFile``).

    Raises
    ------
    SpecError
        The file is missing, a line is malformed, or the lines have different keys.
    """
    goal: Goal | None = None
    replies: list[TrainingReply] = []
    correct: list[bool] = []
    values: list[str | None] = []
    pairs: list[tuple[int, int]] = []
    is_plain = True
    for number, row in read_rows(path, file):
        place = f"{file}:{number}"
        row_goal, messages, question = _read_prompt(row, place)
        if goal is not None and row_goal != goal:
            raise SpecError(
                f"the keys are for the goal {row_goal!r}, but earlier lines are for {goal!r}",
                file=place,
            )
        if goal is not None and ("value" in row) != bool(values):
            raise SpecError("either all lines or no line must have a 'value'", file=place)
        goal, is_plain = row_goal, is_plain and "prompt" in row
        for key in ("completion",) if goal == "outcome" else ("chosen", "rejected"):
            if not isinstance(row[key], str):  # "" is a reply too
                raise SpecError(
                    f"must be a string, not {shown(row[key])}", file=place, path=f"$.{key}"
                )
            replies.append(TrainingReply(question, messages, row[key]))
        if goal == "preference":
            pairs.append((len(replies) - 2, len(replies) - 1))
        elif isinstance(row["correct"], bool):
            correct.append(row["correct"])
            values += [_read_value(row["value"], place)] if "value" in row else []
        else:
            reason = f"must be true or false, not {shown(row['correct'])}"
            raise SpecError(reason, file=place, path="$.correct")
    if goal is None:
        raise SpecError("the file is empty; it must have at least one line with a reply", file=file)
    return ReplyDataset(
        goal, tuple(replies), tuple(correct), tuple(pairs), not is_plain, tuple(values)
    )


def _read_value(value: Any, place: str) -> str | None:
    if not isinstance(value, str | None):
        raise SpecError(f"must be a string or null, not {shown(value)}", file=place, path="$.value")
    return value


def _read_prompt(row: Mapping[str, Any], place: str) -> tuple[Goal, tuple[Message, ...], str]:
    """Return the goal implied by a line's keys, and the line's conversation and question."""
    prompt_keys = row.keys() & {"prompt", "messages"}
    reply_keys = row.keys() - prompt_keys - {"question"}
    if len(prompt_keys) != 1 or reply_keys not in (_OUTCOME, _VALUED, _PREFERENCE):
        raise SpecError(
            "a line must have 'prompt' or 'messages', and either 'completion' and 'correct' "
            "(optionally 'value'), or 'chosen' and 'rejected'; found: "
            f"{', '.join(sorted(row))}",
            file=place,
        )
    messages = (
        (Message("user", read_text(row["prompt"], place, "prompt")),)
        if "prompt" in row
        else read_messages(row["messages"], place)
    )
    question = row.get("question", json.dumps([[m.role, m.content] for m in messages]))
    if not isinstance(question, str):
        raise SpecError(f"must be a string, not {shown(question)}", file=place, path="$.question")
    return "preference" if reply_keys == _PREFERENCE else "outcome", messages, question


# ------------------------------------------------------------------------ sampled replies


def replies_of_run(run: Run) -> ReplyDataset:
    """Return every answer that a run's nodes generated, with its judgement.

    Equal answers are not merged.

    Raises
    ------
    UsageError
        The run did not use the ``search`` split, or it generated no answers.
    StorageError
        The journal cannot be read.
    """
    split = run.description["items"]["split"]
    if split != "search":
        raise UsageError(
            f"training may only use the 'search' split, but the run {run.path} used {shown(split)}"
        )
    found = [judged for entry in run.sorted_entries() for judged in _judged(entry)]
    if not found:
        raise UsageError(f"{run.path}: the run contains no answers to learn from")
    replies, correct, values = zip(*found, strict=True)
    return ReplyDataset("outcome", replies, correct, reads_conversations=True, values=values)


def _judged(entry: Entry) -> Iterator[tuple[TrainingReply, bool, str | None]]:
    nodes = {} if entry.trace is None else {node["node"]: node for node in entry.trace["nodes"]}
    for writer, draws in entry.record.draws.items():
        node = nodes[writer]
        messages_of = {
            completion["draw"]: call["messages"]
            for call in node["calls"]
            for completion in call["completions"]
        }
        own = [c for c in node["outputs"] if c["id"]["node"] == writer]
        for candidate, draw in zip(own, draws, strict=True):
            messages = tuple(Message(**m) for m in messages_of[candidate["id"]["draw"]])
            reply = TrainingReply(entry.record.item, messages, candidate["text"])
            yield reply, draw.is_right, draw.value


def write_replies(replies: ReplyDataset, path: Path) -> None:
    """Write judged replies to a JSONL file, which ``read_replies`` can read."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for i, reply in enumerate(replies.replies):
            row: dict[str, Any] = {
                "question": reply.question,
                "messages": [{"role": m.role, "content": m.content} for m in reply.messages],
                "completion": reply.text,
                "correct": replies.correct[i],
            }
            if replies.values:
                row["value"] = replies.values[i]
            file.write(json.dumps(row, ensure_ascii=True) + "\n")


# ---------------------------------------------------------------------------------- tokens


def tokenize_replies(
    replies: ReplyDataset, chat: ChatFormat, tokenizer: TextTokenizer, end: int, context_length: int
) -> list[tuple[int, ...]]:
    """Return the tokens that a reward model reads for each reply (``archon.lm.local.reward``).

    Parameters
    ----------
    end
        Token that ends a reply.
    context_length
        Maximum number of tokens of a conversation and a reply together.

    Raises
    ------
    UsageError
        The model's chat template rejects a conversation, or a conversation leaves no space for a
        reply.
    """
    prompts: dict[tuple[Message, ...], list[int]] = {}
    found = []
    for reply in replies.replies:
        if reply.messages not in prompts:
            place = f"question {shown(reply.question)}"
            try:
                prompt_ids = prompts[reply.messages] = chat.encode(reply.messages)
            except LMError as error:
                raise UsageError(f"{place}: {error}") from None
            if len(prompt_ids) >= context_length:
                raise UsageError(
                    f"{place}: the conversation has {len(prompt_ids):,} tokens, which leaves no "
                    f"space for a reply in the model's context of {context_length:,}"
                )
        text_ids = tokenizer.encode_continuation(reply.text)
        found.append(reply_ids(prompts[reply.messages], text_ids, end, context_length))
    return found
