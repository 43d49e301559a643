"""Replies that were judged or compared: data of reward models and of DPO."""

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
from archon.train.trainer import Start
from archon.types import Message

_OUTCOME, _PREFERENCE = {"completion", "correct"}, {"chosen", "rejected"}
_VALUED = _OUTCOME | {"value"}
_MOST_PAIRS = 64


@dataclass(frozen=True, slots=True)
class TrainingReply:
    """A reply to a conversation."""

    question: str
    """Replies to one question are either all learned from or all held out."""
    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class ReplyDataset:
    """Replies with judgements or preferences."""

    goal: Goal
    replies: tuple[TrainingReply, ...]
    correct: tuple[bool, ...] = ()
    """Of each reply, where all were judged; empty where they were preferred one to another."""
    pairs: tuple[tuple[int, int], ...] = ()
    """``preference``: the places of a chosen reply and of the one that it was preferred to."""
    reads_conversations: bool = False
    """Whether the replies answer whole conversations, or bare questions."""
    values: tuple[str | None, ...] = ()
    """The answer that each judged reply gives, None where it gives none; empty where that is not
    known."""

    @property
    def questions(self) -> list[str]:
        """The different questions, in their order."""
        return list(dict.fromkeys(reply.question for reply in self.replies))

    def of(self, questions: Iterable[str]) -> ReplyDataset:
        """What is known of these questions alone."""
        wanted = frozenset(questions)
        kept = [i for i, reply in enumerate(self.replies) if reply.question in wanted]
        place = {old: new for new, old in enumerate(kept)}
        return ReplyDataset(
            self.goal,
            tuple(self.replies[i] for i in kept),
            tuple(self.correct[i] for i in kept) if self.correct else (),
            tuple((place[a], place[b]) for a, b in self.pairs if a in place),
            self.reads_conversations,
            tuple(self.values[i] for i in kept) if self.values else (),
        )


def with_goal(replies: ReplyDataset, goal: Goal | None, seed: int) -> ReplyDataset:
    """The replies as a head learns from them that is to have this goal; None leaves them.

    Judged replies become preferences where that is the goal: each right one is preferred to each
    wrong one to the same question. A head that tells them apart cannot do so by what questions are
    hard, as one of judgements may. No question has more than 64 pairs, so that one of many draws
    does not outweigh the others; they are drawn by the seed.

    Raises
    ------
    UsageError
        Preferences are to become judgements.
    """
    if goal is None or goal == replies.goal:
        return replies
    if goal == "outcome":
        raise UsageError(
            "the replies were preferred one to another: whether any is right, which the goal "
            "'outcome' asks, is not known"
        )
    of_question: dict[str, tuple[list[int], list[int]]] = {}
    for place, (reply, is_right) in enumerate(zip(replies.replies, replies.correct, strict=True)):
        right_and_wrong = of_question.setdefault(reply.question, ([], []))
        right_and_wrong[not is_right].append(place)
    pairs: list[tuple[int, int]] = []
    for question, (right, wrong) in of_question.items():
        found = list(product(right, wrong))
        if len(found) > _MOST_PAIRS:
            found = sorted(Random(f"pairs/{seed}/{question}").sample(found, _MOST_PAIRS))
        pairs += found
    return replace(replies, goal=goal, pairs=tuple(pairs))


def parted(questions: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Questions to learn from, and a share of them, at least one, that is held out."""
    order = list(questions)
    Random(f"held out/{seed}").shuffle(order)
    count = min(max(round(share * len(order)), 1), len(order) - 1)
    return order[count:], order[:count]


def open_replies(data: RepliesFile | SampledReplies, start: Start) -> ReplyDataset:
    """The replies of a file, or those of a sampling run, which is started, resumed, or done.

    Raises
    ------
    SpecError
        A file is missing or malformed.
    UsageError
        The run wrote nothing.
    """
    if not isinstance(data, SampledReplies):
        return read_replies(start.base_dir / data.path, data.path)
    sampled = start.folder.path / "data.jsonl"
    if not sampled.is_file():
        start.folder.write_record()  # from here on there is something to resume
        write_replies(replies_of_run(start.sample_replies(data)), sampled)
    return read_replies(sampled, str(sampled))


def read_replies(path: Path, file: str) -> ReplyDataset:
    """The replies of a JSONL file (``archon.spec.training.RepliesFile``).

    Raises
    ------
    SpecError
        The file is missing, or a line is of another form than the first.
    """
    goal: Goal | None = None
    replies: list[TrainingReply] = []
    correct: list[bool] = []
    values: list[str | None] = []
    pairs: list[tuple[int, int]] = []
    is_plain = True
    for number, row in read_rows(path, file):
        place = f"{file}:{number}"
        found, messages, question = _head(row, place)
        if goal is not None and found != goal:
            raise SpecError(f"is for {found}, the lines before it for {goal}", file=place)
        if goal is not None and ("value" in row) != bool(values):
            raise SpecError("some lines have a 'value' and some have none", file=place)
        goal, is_plain = found, is_plain and "prompt" in row
        keys = ("completion",) if goal == "outcome" else ("chosen", "rejected")
        replies += [TrainingReply(question, messages, _reply(row[key], place, key)) for key in keys]
        if goal == "preference":
            pairs.append((len(replies) - 2, len(replies) - 1))
        elif isinstance(row["correct"], bool):
            correct.append(row["correct"])
            values += [_value(row["value"], place)] if "value" in row else []
        else:
            reason = f"is {shown(row['correct'])}, not true or false"
            raise SpecError(reason, file=place, path="$.correct")
    if goal is None:
        raise SpecError("holds no replies", file=file)
    return ReplyDataset(
        goal, tuple(replies), tuple(correct), tuple(pairs), not is_plain, tuple(values)
    )


def _reply(value: Any, place: str, key: str) -> str:
    """The text of a reply; a model may have drawn none."""
    if not isinstance(value, str):
        raise SpecError(f"is {shown(value)}, not a text", file=place, path=f"$.{key}")
    return value


def _value(value: Any, place: str) -> str | None:
    """What a reply answers; it may answer nothing."""
    if not isinstance(value, str | None):
        raise SpecError(f"is {shown(value)}, neither a text nor null", file=place, path="$.value")
    return value


def _head(row: Mapping[str, Any], place: str) -> tuple[Goal, tuple[Message, ...], str]:
    """What a line is for, the conversation, and the question that the line belongs to."""
    asked = row.keys() & {"prompt", "messages"}
    rest = row.keys() - asked - {"question"}
    if len(asked) != 1 or rest not in (_OUTCOME, _VALUED, _PREFERENCE):
        raise SpecError(
            f"has the keys {', '.join(sorted(row))}; a line has 'prompt' or 'messages', and either "
            "'completion' and 'correct' (and 'value'), or 'chosen' and 'rejected'",
            file=place,
        )
    if "prompt" in row:
        messages: tuple[Message, ...] = (
            Message("user", read_text(row["prompt"], place, "prompt")),
        )
    else:
        messages = read_messages(row["messages"], place)
    question = row.get("question", json.dumps([[m.role, m.content] for m in messages]))
    if not isinstance(question, str):
        raise SpecError(f"is {shown(question)}, not a text", file=place, path="$.question")
    return "preference" if rest == _PREFERENCE else "outcome", messages, question


# ------------------------------------------------------------------------ sampled replies


def replies_of_run(run: Run) -> ReplyDataset:
    """Every text that a node of a run wrote to be an answer, and whether it was right.

    Equal texts of one node and question count once for each draw, as they are drawn.

    Raises
    ------
    UsageError
        The run is not of the search split, or wrote nothing.
    StorageError
        The journal cannot be read.
    """
    split = run.description["items"]["split"]
    if split != "search":
        raise UsageError(f"what is trained may see the split 'search' alone, not {shown(split)}")
    found = [judged for entry in run.sorted_entries() for judged in _judged(entry)]
    if not found:
        raise UsageError(f"{run.path}: nothing was written, so there is nothing to learn from")
    replies, correct, values = zip(*found, strict=True)
    return ReplyDataset("outcome", replies, correct, reads_conversations=True, values=values)


def _judged(entry: Entry) -> Iterator[tuple[TrainingReply, bool, str | None]]:
    nodes = {} if entry.trace is None else {node["node"]: node for node in entry.trace["nodes"]}
    for writer, draws in entry.record.draws.items():
        node = nodes[writer]
        asked = {
            completion["draw"]: call["messages"]
            for call in node["calls"]
            for completion in call["completions"]
        }
        written = [c for c in node["outputs"] if c["id"]["node"] == writer]
        for candidate, draw in zip(written, draws, strict=True):
            messages = tuple(Message(**m) for m in asked[candidate["id"]["draw"]])
            reply = TrainingReply(entry.record.item, messages, candidate["text"])
            yield reply, draw.is_right, draw.value


def write_replies(replies: ReplyDataset, path: Path) -> None:
    """Write judged replies as a JSONL file that ``read_replies`` reads."""
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
    """The tokens that a reward model reads of each reply (``archon.lm.local.reward``).

    Parameters
    ----------
    end
        The token that ends a reply.
    context_length
        Capacity for a conversation and a reply together, in tokens.

    Raises
    ------
    UsageError
        The model's chat template rejects a conversation, or one leaves no capacity for a reply.
    """
    known: dict[object, list[int]] = {}
    found = []
    for reply in replies.replies:
        if reply.messages not in known:
            place = f"question {shown(reply.question)}"
            try:
                prompt_ids = known[reply.messages] = chat.encode(reply.messages)
            except LMError as error:
                raise UsageError(f"{place}: {error}") from None
            if len(prompt_ids) >= context_length:
                raise UsageError(
                    f"{place}: the conversation has {len(prompt_ids):,} tokens, so that no reply "
                    f"fits the model's context of {context_length:,}"
                )
        text_ids = tokenizer.encode(reply.text)
        found.append(reply_ids(known[reply.messages], text_ids, end, context_length))
    return found
