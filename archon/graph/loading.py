"""Load architectures from files: the spec, the model cards and the graph.

Files are read and validated, but weights are not loaded until a model's first request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archon.errors import FileError, GraphError, SpecError, UsageError, reference_at, together
from archon.graph.architecture import Architecture, build_prompts
from archon.graph.lm import ArchitectureLM
from archon.graph.validation.build import build
from archon.graph.validation.checks import errors_of_valid_parts
from archon.lm import factory
from archon.lm.base import LM
from archon.lm.custom.choice import CustomModel, custom_lm
from archon.lm.lazy import LazyLM, shared_lm
from archon.spec import catalog
from archon.spec.architecture import ArchitectureRef, ArchitectureSpec, RoleModel
from archon.spec.changes import Changes, Setting, is_missing_node, path_of, unknown_key
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.model import ModelCard
from archon.spec.model_strings import ALL_ROLES
from archon.spec.reader import (
    AnyCard,
    Loaded,
    Reference,
    load_architecture,
    load_model_card,
    load_valid_parts,
)
from archon.spec.valid_parts import ValidParts

ModelChoice = str | os.PathLike[str] | dict[str, Any] | Architecture | CustomModel
"""A model string (``archon.spec.model_strings``), a path, a card or ``{"architecture": NAME}`` as a
dict, an architecture, or a custom model (``archon.lm.custom.choice``), such as a function."""

LoadCard = Callable[[Reference, Path | None], Loaded[AnyCard]]
"""``load_model_card``, or a function that remembers what it returned."""


_NO_INLINE_CODE = (
    "'trust_remote_code' is allowed only in a card in a separate file, so that no architecture "
    "runs a model's code by itself; write the card to a file and name it here"
)


@dataclass
class Loader:
    """Loads architectures, and collects the models that they use."""

    lms: list[LazyLM] = field(default_factory=list)
    """The models of all loaded cards, without duplicates."""
    changes: Changes = field(default_factory=Changes)
    """New values for the files of ``architecture`` and ``architectures``, not of nested ones."""
    _cards: dict[tuple[str, Path | None], Loaded[AnyCard]] = field(default_factory=dict)
    """Loaded cards by name or path, and by the folder to which the path is relative."""

    def architecture(
        self, ref: Reference, models: Mapping[str, ModelChoice] | None = None
    ) -> Architecture:
        """Load an architecture; the parameters are the same as for ``archon.load``."""
        return self._changed(ref, models or {}, self.changes.settings)

    def _changed(
        self, ref: Reference, models: Mapping[str, ModelChoice], settings: tuple[Setting, ...]
    ) -> Architecture:
        """Load an architecture with new values; the settings of a temperature come first."""
        architecture = self._architecture(ref, Path.cwd(), models, (), settings)
        if self.changes.temperature is None:
            return architecture
        sampled = sorted(architecture.models.sampled_nodes)
        if not sampled:
            raise UsageError(
                f"no node of {architecture.name} takes --temperature; give a node's own with "
                "--set NODE.sampling.temperature=T"
            )
        first = tuple(
            Setting(f"nodes.{node}.sampling.temperature", self.changes.temperature)
            for node in sampled
        )
        return self._architecture(ref, Path.cwd(), models, (), (*first, *settings))

    def of_spec(
        self,
        spec: ArchitectureSpec,
        base_dir: Path,
        models: Mapping[str, ModelChoice] | None = None,
    ) -> Architecture:
        """Load the architecture of a parsed spec, whose relative paths start at ``base_dir``."""
        return self._architecture(spec.model_dump(mode="json"), base_dir, models or {}, ())

    def architectures(
        self, refs: Sequence[Reference], models: Mapping[str, ModelChoice]
    ) -> list[Architecture]:
        """Load several architectures.

        ``models`` maps a role to the model that replaces the role's model in all of them.

        Raises
        ------
        UsageError
            ``models`` contains a role that none of the architectures has.
        """
        specs = [load_architecture(ref).spec for ref in refs]
        roles = set().union(*(spec.models for spec in specs))
        _check_roles(models, roles, "these architectures")
        chosen = [_settings_of(spec, self.changes.settings) for spec in specs]
        for setting in self.changes.settings:
            if not any(setting in settings for settings in chosen):
                raise unknown_key(setting, dict.fromkeys(n for spec in specs for n in spec.nodes))
        return [
            self._changed(ref, of_roles(models, spec.models), settings)
            for ref, spec, settings in zip(refs, specs, chosen, strict=True)
        ]

    def model(self, ref: Reference, base_dir: Path | None = None) -> LazyLM:
        """Return the model of the card that ``ref`` names; equal cards share one."""
        loaded = self._card(ref, base_dir)
        return self._shared(loaded.spec, loaded.base_dir, loaded.origin)

    def _card(self, ref: Reference, base_dir: Path | None) -> Loaded[AnyCard]:
        """Load a card. Its file is read once, because a search loads a thousand architectures."""
        if isinstance(ref, dict):
            return load_model_card(ref, base_dir)
        key = (os.fspath(ref), base_dir)
        if key not in self._cards:
            self._cards[key] = load_model_card(ref, base_dir)
        return self._cards[key]

    def _shared(self, card: ModelCard, base_dir: Path, origin: str) -> LazyLM:
        lm = shared_lm(card, base_dir)
        lm.origin = lm.origin or origin
        if lm not in self.lms:
            self.lms.append(lm)
        return lm

    def _architecture(
        self,
        ref: Reference,
        base_dir: Path,
        models: Mapping[str, ModelChoice],
        outer_files: tuple[Path, ...],
        settings: Sequence[Setting] = (),
    ) -> Architecture:
        """Load an architecture and all architectures nested in it.

        ``outer_files`` lists the files of the architectures that contain this one, outermost first.
        It is used to detect an architecture that contains itself.
        """
        loaded, parts, errors = _load(ref, base_dir, settings)
        if not isinstance(ref, dict):
            path = (base_dir / catalog.find("architecture", ref)).resolve()
            if path in outer_files:
                names = [file.stem for file in (*outer_files[outer_files.index(path) :], path)]
                reason = f"the architecture contains itself: {' → '.join(names)}"
                raise GraphError(reason, rule="contains_itself", file=loaded.file)
            outer_files = (*outer_files, path)
        if parts is None:
            _check_roles(models, loaded.spec.models, loaded.spec.name)
        lms: dict[str, LM] = {}
        cards: dict[str, ModelCard | None] = {}
        chosen = chosen_models(loaded.spec.models, models, loaded.base_dir, self._card)
        for role, declared in loaded.spec.models.items():
            try:
                if role in chosen:
                    lms[role] = self._chosen(chosen[role])
                elif parts is None or role not in parts.invalid_roles:
                    lms[role] = self._declared(
                        role, declared, loaded, of_roles(models), outer_files
                    )
            except FileError as error:
                errors.append(error)
            model = lms.get(role)
            cards[role] = model.card if isinstance(model, LazyLM) else None
        capabilities = {role: model.capabilities for role, model in lms.items()}
        if parts is not None:
            errors += errors_of_valid_parts(parts, capabilities, loaded.file)
        else:
            try:
                graph = build(loaded.spec, capabilities, loaded.file)
                if not errors:
                    return Architecture(graph, lms, cards, base_dir=loaded.base_dir)
            except FileError as error:
                errors.append(error.in_file(loaded.file))
        errors += _errors_of_prompts(loaded, lms, cards, errors)
        raise together(errors)

    def _declared(
        self,
        role: str,
        model: RoleModel,
        loaded: Loaded[ArchitectureSpec],
        models: Mapping[str, ModelChoice],
        outer_files: tuple[Path, ...],
    ) -> LM:
        """Return the model that an architecture's file names for a role.

        ``models`` has the model for all roles of a nested architecture, if there is one.
        """
        path = json_path(["models", role])
        match model:
            case str():
                with reference_at(loaded.file, path):
                    lm = self.model(model, loaded.base_dir)
                is_unreferenced = lm.origin.startswith(model) and "(referenced by" not in lm.origin
                if is_unreferenced and loaded.file is not None:
                    lm.origin = f"{lm.origin} (referenced by {loaded.file}, {path})"
                return lm
            case ArchitectureRef(architecture=nested):
                with reference_at(loaded.file, f"{path}.architecture"):
                    inner = self._architecture(nested, loaded.base_dir, models, outer_files)
                    return ArchitectureLM(inner)
            case _:
                origin = f"{loaded.file}, {path}" if loaded.file is not None else ""
                if loaded.file is not None and getattr(model, "trust_remote_code", False):
                    raise SpecError(_NO_INLINE_CODE, file=loaded.file, path=path)
                return self._shared(model, loaded.base_dir, origin)

    def _chosen(self, model: ModelChoice) -> LM:
        """Return the model that the caller passed for a role, in place of the role's own model."""
        if isinstance(model, dict) and "architecture" in model:
            return ArchitectureLM(self.architecture(model["architecture"]))
        if isinstance(model, str | os.PathLike | dict):
            return self.model(model)
        return ArchitectureLM(model) if isinstance(model, Architecture) else custom_lm(model)


def _settings_of(spec: ArchitectureSpec, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """Return the settings that name a node or a key of this architecture."""
    paths = ((setting, path_of(setting.key, spec.nodes)) for setting in settings)
    return tuple(s for s, path in paths if path and not is_missing_node(path, spec.nodes))


def _load(
    ref: Reference, base_dir: Path, settings: Sequence[Setting] = ()
) -> tuple[Loaded[ArchitectureSpec], ValidParts | None, list[FileError]]:
    """Load an architecture's spec; return the spec, its valid parts and its errors.

    If the spec is valid as a whole, the valid parts are None. Otherwise, the returned spec contains
    only the valid parts.
    """
    try:
        return load_architecture(ref, base_dir, settings), None, []
    except SpecError as error:
        readable = load_valid_parts(ref, base_dir, settings)
        if readable is None:
            raise
        parts = readable.spec
        return Loaded(parts.spec, readable.file, readable.base_dir), parts, [error]


def _errors_of_prompts(
    loaded: Loaded[ArchitectureSpec],
    lms: Mapping[str, LM],
    cards: Mapping[str, ModelCard | None],
    known: Sequence[FileError],
) -> list[FileError]:
    """Return the errors of invalid prompts, except at JSON paths with an error in ``known``."""
    _, errors = build_prompts(loaded.spec, lms, cards, loaded.base_dir)
    paths = [error.path or "" for errors in known for error in errors.errors]
    return [
        error.in_file(loaded.file)
        for error in errors
        if error.file is not None or not any(path.startswith(error.path or "$") for path in paths)
    ]


def of_roles(models: Mapping[str, ModelChoice], roles: Collection[str] = ()) -> dict[str, Any]:
    """Return the models for some roles and the one for all roles."""
    return {role: models[role] for role in models if role in roles or role == ALL_ROLES}


def chosen_models(
    declared: Mapping[str, RoleModel],
    models: Mapping[str, ModelChoice],
    base_dir: Path,
    load: LoadCard = load_model_card,
) -> dict[str, ModelChoice]:
    """Return the models that replace declared ones, by role.

    The model for all roles (``ALL_ROLES``) replaces every declared one that writes text in chats:
    reward models, encoders and translators stay, and so do architectures, whose own roles it gets.

    Raises
    ------
    UsageError
        The name of a role is given in place of a model.
    """
    chosen = {role: models[role] for role in models if role != ALL_ROLES}
    if ALL_ROLES in models:
        name = models[ALL_ROLES]
        if isinstance(name, str) and name in declared and name not in catalog.names("model"):
            reason = f"{shown(name)} is a role, not a model; give its model as ROLE=NAME"
            raise UsageError(f"{reason}, such as {name}=scripted")
        for role, model in declared.items():
            if not isinstance(model, ArchitectureRef) and _may_chat(model, base_dir, load):
                chosen.setdefault(role, models[ALL_ROLES])
    return chosen


def _may_chat(model: str | ModelCard, base_dir: Path, load: LoadCard) -> bool:
    """Return True for a declared model that writes text, and for one whose card is unreadable."""
    try:
        card = load(model, base_dir).spec if isinstance(model, str) else model
    except FileError:
        return True
    return "chat" in factory.capabilities(card)


def _check_roles(wanted: Iterable[str], known: Collection[str], where: str) -> None:
    for role in wanted:
        if role not in known and role != ALL_ROLES:
            hint = suggestion(role, sorted(known))
            raise UsageError(f"there is no role {shown(role)} in {where}{hint}")
