"""The folder of a training.

::

    training.json       what was asked for, and what came of it
    state.safetensors   where it stands; gone when it is finished
    loss.svg            the loss of every step; reward.svg where rewards were learnt from
    model/ or adapter/  what was trained
    reward/             a reward head
    card.json           a model card that runs it
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
from archon.storage.atomic import replacing, write_json
from archon.storage.lock import locked
from archon.storage.run_folder import BaseRunFolder
from archon.train.curve_svg import LOSS, REWARDS, draw_curve

RECORD, STATE = "training.json", "state.safetensors"
LOSS_PICTURE, REWARD_PICTURE = "loss.svg", "reward.svg"
MODEL, ADAPTER, REWARD, CARD = "model", "adapter", "reward", "card.json"


class TrainingFolder(BaseRunFolder):
    """A folder that is there, and holds a training or will.

    Parameters
    ----------
    resume
        Continue the training that it holds; without it, such a folder is refused.

    Raises
    ------
    UsageError
        It holds a training that is not to be resumed, or another than this, or files and no
        training; or it cannot be made.
    """

    kind, description, required_key = "training", RECORD, "spec"
    marks = frozenset({RECORD})
    files = frozenset({RECORD, STATE, LOSS_PICTURE, REWARD_PICTURE, MODEL, ADAPTER, REWARD, CARD})

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
    def held(cls, path: Path, spec: Mapping[str, Any], *, resume: bool) -> Iterator[TrainingFolder]:
        """The folder, while no other process trains there.

        Raises
        ------
        UsageError
            One does; or as for the folder itself.
        StorageError
            The folder cannot be locked.
        """
        cls.make(path)
        with locked(path, cls.kind):
            yield cls(path, spec, resume=resume)

    @property
    def is_finished(self) -> bool:
        return "after" in self.record

    def keep_data(self, data: object) -> None:
        """Note what is learnt from, as a digest, or see that it is what was noted.

        Parameters
        ----------
        data
            Has a ``repr`` that tells all that counts.

        Raises
        ------
        UsageError
            The training has begun on other data, so that it cannot go on with these.
        """
        digest = hashlib.sha256(repr(data).encode()).hexdigest()
        if self.record.setdefault("data_digest", digest) != digest:
            raise UsageError(
                f"{self.path}: the data are not those that this training began with; choose "
                "another folder with --output"
            )

    def write_record(self) -> None:
        self.write_description(self.record)

    def save_state(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """Write where the training stands; see ``archon.storage.atomic.replacing``.

        Parameters
        ----------
        progress
            Plain data besides the tensors.

        Raises
        ------
        StorageError
            The disk does not take it.
        """
        try:
            with replacing(self.path / STATE) as part:
                save_file(dict(tensors), part, {"progress": json.dumps(progress)})
        except (OSError, SafetensorError) as error:
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            raise StorageError(f"cannot write {self.path / STATE}: {reason}") from None

    def read_state(self) -> tuple[dict[str, Tensor], Any] | None:
        """The tensors and the progress that were saved last, or None where none were.

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
        (self.path / STATE).unlink(missing_ok=True)

    def draw_losses(self, title: str, curve: Sequence[float]) -> None:
        """Draw the loss of every step, and of held-out data before and after."""
        self._draw(LOSS_PICTURE, title, curve, "held_out_loss", LOSS)

    def draw_rewards(self, title: str, curve: Sequence[float]) -> None:
        """Draw the reward of every step, and of held-out questions before and after."""
        self._draw(REWARD_PICTURE, title, curve, "held_out_reward", REWARDS)

    def _draw(
        self, file: str, title: str, curve: Sequence[float], measured: str, what: str
    ) -> None:
        held_out = {
            steps: self.record[when][measured]
            for when, steps in (("before", 0), ("after", len(curve)))
            if measured in self.record.get(when, {})
        }
        svg = draw_curve(title, curve, held_out, what)
        (self.path / file).write_text(svg, encoding="utf-8")

    def write_card(self, card: Mapping[str, Any]) -> None:
        write_json(self.path / CARD, card)
