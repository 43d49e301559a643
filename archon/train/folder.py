"""The folder of a training run, with its configuration, state and results.

::

    training.json       configuration and results state.safetensors   state from which an unfinished
    run is resumed loss.svg            plot of the loss; in reinforcement learning, reward.svg
    model/ or adapter/  trained weights reward/             trained reward head card.json
    model card of the trained model
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from archon.errors import StorageError, UsageError, os_reason
from archon.spec.training import BaseTrainingSpec
from archon.storage.atomic import replacing, write_json
from archon.storage.lock import locked
from archon.storage.run_folder import BaseRunFolder
from archon.train.curve_svg import draw_curve

RECORD, STATE = "training.json", "state.safetensors"
MODEL, ADAPTER, REWARD, CARD = "model", "adapter", "reward", "card.json"

Card = dict[str, Any]
"""A model card as JSON data."""


def new_card(spec: BaseTrainingSpec, **keys: Any) -> Card:
    """Return a card for the model in ``model/``, with the name and description of the run."""
    return {
        "version": 1,
        "name": spec.name,
        "description": spec.description,
        "backend": "local",
        **keys,
        "sources": [{"path": MODEL}],
    }


class TrainingFolder(BaseRunFolder):
    """The folder of a new or resumed training run; it is created if it does not exist.

    Parameters
    ----------
    spec
        Configuration of the training run.
    resume
        Whether to resume the training run in the folder, if there is one.

    Raises
    ------
    UsageError
        The folder cannot be created, or it contains other files. Or it contains a training run, and
        ``resume`` is False or the configuration of the run is different.
    """

    kind, description, required_key = "training", RECORD, "spec"
    marks = frozenset({RECORD})
    files = frozenset({RECORD, STATE, "loss.svg", "reward.svg", MODEL, ADAPTER, REWARD, CARD})

    def __init__(self, path: Path, spec: Mapping[str, Any], *, resume: bool) -> None:
        super().__init__(path)
        self.make(path)
        if not resume:
            self.check_new()
        self.record: dict[str, Any] = {"spec": dict(spec)}
        if self.holds_run:
            self.record = self.read_description()
            self.check_same(self.record["spec"], spec)

    @classmethod
    @contextmanager
    def exclusive(
        cls, path: Path, spec: Mapping[str, Any], *, resume: bool
    ) -> Iterator[TrainingFolder]:
        """Open the folder and lock it against other processes.

        Raises
        ------
        UsageError
            Another process is training in the folder, or ``TrainingFolder`` rejects the folder.
        StorageError
            The folder cannot be locked.
        """
        cls.make(path)
        with locked(path, cls.kind):
            yield cls(path, spec, resume=resume)

    @property
    def is_finished(self) -> bool:
        """True once the training has ended."""
        return "after" in self.record

    def check_data(self, data: object) -> None:
        """Record a digest of the data; if one is already recorded, check that the two are equal.

        Parameters
        ----------
        data
            The training data. Its ``repr`` must contain everything that the training run depends
            on.

        Raises
        ------
        UsageError
            The training run was started with other data, so it cannot be resumed with this data.
        """
        digest = hashlib.sha256(repr(data).encode()).hexdigest()
        if self.record.setdefault("data_digest", digest) != digest:
            raise UsageError(
                f"{self.path}: the training run in this folder was started with other data; "
                "choose another folder with --output"
            )

    def write_record(self) -> None:
        """Write ``training.json``."""
        self.write_description(self.record)

    def save_state(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """Replace ``state.safetensors`` atomically.

        Parameters
        ----------
        progress
            JSON data to store with the tensors.

        Raises
        ------
        StorageError
            The file cannot be written.
        """
        try:
            with replacing(self.path / STATE) as part:
                save_file(dict(tensors), part, {"progress": json.dumps(progress)})
        except (OSError, SafetensorError) as error:
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            raise StorageError(f"cannot write {self.path / STATE}: {reason}") from None

    def read_state(self) -> tuple[dict[str, Tensor], Any] | None:
        """Return the tensors and progress of the last ``save_state``; None if nothing is saved.

        Raises
        ------
        StorageError
            The file is damaged.
        """
        path = self.path / STATE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                progress = json.loads((file.metadata() or {})["progress"])
                return {n: file.get_tensor(n) for n in file.keys()}, progress  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StorageError(f"{path} is damaged: {error}") from None

    def drop_state(self) -> None:
        """Delete the saved state."""
        (self.path / STATE).unlink(missing_ok=True)

    def draw_curve(self, title: str, unit: str, curve: Sequence[float]) -> None:
        """Write the plot of a curve, with the held-out values before and after training.

        Parameters
        ----------
        unit
            ``loss`` or ``reward``.
        curve
            The value of each step.
        """
        measured = f"held_out_{unit}"
        held_out = {
            steps: self.record[when][measured]
            for when, steps in (("before", 0), ("after", len(curve)))
            if measured in self.record.get(when, {})
        }
        svg = draw_curve(title, unit, curve, held_out)
        (self.path / f"{unit}.svg").write_text(svg, encoding="utf-8")

    def write_card(self, card: Card) -> None:
        """Write ``card.json``."""
        write_json(self.path / CARD, card)
