"""The conversation of ``archon chat``: its model, its messages, and their answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from archon.cli.console import console, print_line, spinner
from archon.cli.options import models_by_role, output_file, write_file
from archon.cli.weights import close_all, open_all
from archon.errors import ArchonError, UsageError
from archon.graph.lm import ArchitectureLM
from archon.graph.loading import Loader
from archon.spec.changes import Changes
from archon.spec.reader import is_model
from archon.types import Completion, Event, Message, Request, SamplingParams, TokenDelta, Usage

if TYPE_CHECKING:
    from archon.lm.base import LM


class ChatSession:
    """A conversation; use it in a ``with`` block, which closes the models at its end.

    Parameters
    ----------
    ref
        The architecture or model.
    models
        Role → the model that replaces the architecture's.
    changes
        New values for the architecture's file. Its temperature also applies to a plain model.
    sampling
        Sampling parameters of every request.
    seed
        Seed of every request.
    system
        System message; None for none.
    """

    def __init__(
        self,
        ref: str,
        models: dict[str, Any],
        changes: Changes,
        *,
        sampling: SamplingParams,
        seed: int,
        system: str | None,
    ) -> None:
        self._ref, self._models, self._changes = ref, models, changes
        self._sampling, self._seed = sampling, seed
        self._system = system
        self._messages: list[Message] = []
        self._usage = Usage()
        self._last: Completion | None = None
        self._runner = asyncio.Runner()
        self._loader, self._lm, self.name = self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._runner:
            self._runner.run(close_all(self._loader.lms))

    def _load(self) -> tuple[Loader, LM, str]:
        """Load and open the architecture or model; return it with its loader and its name."""
        loader = Loader(changes=self._changes)
        lm: LM
        if is_model(self._ref):
            if self._models or self._changes.settings:
                raise UsageError(f"{self._ref} is a model; --model and --set need an architecture")
            lm = model = loader.model(self._ref)
            name = model.card.name
            if "chat" not in model.capabilities:
                raise UsageError(f"the model {name!r} only scores texts; choose one that writes")
        else:
            architecture = loader.architecture(self._ref, self._models)
            lm, name = ArchitectureLM(architecture), architecture.name
        open_all(loader.lms)
        return loader, lm, name

    def answer(self, text: str, stream: TextIO | None) -> bool:
        """Ask a question, and print the answer to ``stream`` as it is generated.

        Return False if it failed or was cancelled. The conversation is then as before.
        """
        asked = [*self._messages, Message("user", text)]
        system = [] if self._system is None else [Message("system", self._system)]
        sampling = self._sampling
        if not isinstance(self._lm, ArchitectureLM):
            sampling = replace(sampling, temperature=self._changes.temperature)
        request = Request((*system, *asked), seed=self._seed, sampling=sampling)
        printer = _Printer(stream)
        try:
            with spinner(f"{self.name} is working") as status:
                printer.status = status
                self._last = self._runner.run(self._generate(request, printer))
        except KeyboardInterrupt:
            printer.end()
            print_line("cancelled", "yellow")
            return False
        except ArchonError as error:
            printer.end()
            print_line(f"archon: error: {error}", "red")
            return False
        printer.end()
        self._messages = [*asked, Message("assistant", self._last.text)]
        self._usage += self._last.usage
        for note in self._last.notes:
            print_line(note, "yellow")
        return True

    async def _generate(self, request: Request, printer: _Printer) -> Completion:
        [completion] = await self._lm.generate(request, printer.on_event)
        if completion.error is not None:
            raise ArchonError(completion.error)
        printer.text(completion.text if not printer.has_text else "")
        return completion

    def reset(self) -> None:
        """Forget all messages but the system message."""
        self._messages, self._last = [], None
        print_line("the conversation is empty", "dim")

    def set_system(self, text: str) -> None:
        """Replace the system message; an empty text removes it."""
        self._system = text or None

    def set_model(self, text: str) -> None:
        """Replace the model of all roles, or of one role, and keep the conversation.

        Raises
        ------
        ArchonError
            The model cannot be used; the conversation continues with the old one.
        """
        if not text:
            print_line(f"{self.name}: {', '.join(lm.card.name for lm in self._loader.lms)}")
            return
        before = self._ref, self._models
        if is_model(self._ref):
            self._ref = text
        else:
            self._models = self._models | models_by_role([text])
        try:
            loader, lm, name = self._load()
        except ArchonError:
            self._ref, self._models = before
            raise
        unused = [each for each in self._loader.lms if each not in loader.lms]
        self._runner.run(close_all(unused))
        self._loader, self._lm, self.name = loader, lm, name
        print_line(f"now {name}: {', '.join(each.card.name for each in loader.lms)}", "dim")

    def print_trace(self) -> None:
        """Print the trace of the last answer.

        Raises
        ------
        UsageError
            There is no answer, or a plain model wrote it.
        """
        from archon.cli.trace import print_trace
        from archon.graph.trace import Trace

        if self._last is None:
            raise UsageError("there is no answer yet")
        trace = self._last.trace
        if not isinstance(trace, Trace):
            raise UsageError(f"{self.name} is a model, which has no nodes to trace")
        print_trace(trace)

    def save(self, file: str) -> None:
        """Write the conversation to a new JSON file.

        Raises
        ------
        UsageError
            The name is missing, or the file exists.
        """
        path = output_file(file)
        if path is None:
            raise UsageError("name a file: /save FILE")
        if path.exists():
            raise UsageError(f"{path} exists; choose another name")
        write_file(path, [json.dumps(self.to_json(), ensure_ascii=False, indent=2), "\n"])
        print_line(f"wrote {Path(file)}", "dim")

    def to_json(self) -> dict[str, Any]:
        """Return the conversation as plain data; the messages have the form of the OpenAI API."""
        system = [] if self._system is None else [Message("system", self._system)]
        usage = self._usage
        return {
            "name": self.name,
            "messages": [
                {"role": each.role, "content": each.content} for each in (*system, *self._messages)
            ],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "calls": usage.calls,
            },
        }


class _Printer:
    """Prints the deltas of an answer on standard output, and reasoning dimmed on a terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.status: Any = None
        """The spinner, which the first text ends."""
        self.has_text = self._has_reasoning = False

    def on_event(self, event: Event) -> None:
        if not isinstance(event, TokenDelta):
            return
        if not event.is_reasoning:
            self.text(event.text)
        elif console().is_terminal and self._stream is not None:
            self._stop_spinner()
            self._has_reasoning = True
            console().print(event.text, end="", style="dim", soft_wrap=True)

    def text(self, text: str) -> None:
        """Print a part of the answer."""
        if self._stream is None or not text:
            return
        self._stop_spinner()
        if self._has_reasoning:
            console().print("\n")
            self._has_reasoning = False
        self._stream.write(text)
        self._stream.flush()
        self.has_text = True

    def end(self) -> None:
        """End the line."""
        if self.has_text and self._stream is not None:
            self._stream.write("\n")
            self._stream.flush()

    def _stop_spinner(self) -> None:
        if self.status is not None:
            self.status.stop()
            self.status = None
