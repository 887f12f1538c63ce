"""`knowledge_base:` of a policy's configuration -> a knowledge base.

knowledge_base: {type: memory, path: data/screenings.csv}
knowledge_base: {type: sql, url: sqlite:///db/screenings.db, table: screenings, at_least: {num_tickets: seats}}
knowledge_base: {type: my_package.Catalogue, endpoint: "https://...", timeout: 1.0}
"""

from __future__ import annotations

import difflib
import inspect
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple, Union

from rasa_hybrid.knowledge.base import (
    KnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
    without_passwords,
)
from rasa_hybrid.knowledge.guard import GUARD_DEFAULTS, GuardedKnowledgeBase
from rasa_hybrid.knowledge.memory import InMemoryKnowledgeBase
from rasa_hybrid.knowledge.sql import SqlKnowledgeBase

logger = logging.getLogger(__name__)


def knowledge_base_from_config(
    config: Mapping[str, Any],
    base_dir: Union[str, Path] = ".",
    language: str = "en",
    slots: Optional[Iterable[str]] = None,
    must_answer: bool = True,
) -> GuardedKnowledgeBase:
    """The knowledge base of a configuration, behind its guard.

    Args:
        config: `type` and the keys of that type; see `docs/components/policy.md`.
        base_dir: where relative paths start.
        language: ISO 639-1 code for the comparison of values.
        slots: the goal slots, to check `at_least` against; None to skip that check.
        must_answer: False if a service that is down now may come up later, as when serving.

    Raises:
        KnowledgeBaseError: if a key, value, file, table or column is wrong; names it and what is allowed.
        KnowledgeBaseUnavailable: if the service does not answer and has to.
    """
    try:
        if not isinstance(config, Mapping):
            raise KnowledgeBaseError(f"{config!r} is not a mapping; allowed: `type: sql`, ...")
        settings = dict(config)
        kind = settings.pop("type", None)
        if not isinstance(kind, str) or not (kind in _TYPES or "." in kind):
            raise KnowledgeBaseError(
                f"type {kind!r}; allowed: {', '.join(_TYPES)}, or the module path of a class (my.module.Class)."
            )
        limits = {key: settings.pop(key, default) for key, default in GUARD_DEFAULTS.items()}
        for key, value in limits.items():
            _check_value(key, value, _GUARD_KEYS[key])
        if kind in _TYPES:
            required, optional, build = _TYPES[kind]
            _check_keys(kind, settings, required, optional)
            knowledge_base = build(settings, limits, Path(base_dir), language)
        else:
            knowledge_base = _custom(kind, settings)
        _check_at_least(knowledge_base, slots)
        _check_service(knowledge_base, must_answer)
    except KnowledgeBaseError as error:
        message = f"knowledge_base: {without_passwords(str(error))}"
        raise type(error)(message) from error.__cause__
    return GuardedKnowledgeBase(knowledge_base, name=f"knowledge base ({kind})", **limits)


def _memory(
    settings: Dict[str, Any], limits: Dict[str, Any], base_dir: Path, language: str
) -> KnowledgeBase:
    path = base_dir / settings.pop("path")
    return InMemoryKnowledgeBase.from_file(path, language=language, **settings)


def _sql(
    settings: Dict[str, Any], limits: Dict[str, Any], base_dir: Path, language: str
) -> KnowledgeBase:
    variable = settings.pop("url_env", None)
    if (variable is None) == ("url" not in settings):
        raise KnowledgeBaseError(
            "either `url` or `url_env` is needed: the URL, or the environment variable that holds it."
        )
    if variable is not None:
        if not os.environ.get(variable):
            raise KnowledgeBaseError(f"url_env: the environment variable {variable!r} is not set.")
        settings["url"] = os.environ[variable]
    return SqlKnowledgeBase(
        language=language,
        base_dir=base_dir,
        timeout=limits["timeout"],
        values_seconds=limits["values_seconds"],
        **settings,
    )


def _custom(path: str, settings: Dict[str, Any]) -> KnowledgeBase:
    """An instance of the class at a module path."""
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise KnowledgeBaseError(f"type: {path!r} can't be imported ({error}).") from error
    if not (inspect.isclass(found) and issubclass(found, KnowledgeBase)):
        raise KnowledgeBaseError(
            f"type: {path!r} is not a subclass of rasa_hybrid.knowledge.KnowledgeBase."
        )
    signature = inspect.signature(found)
    try:
        signature.bind(**settings)
    except TypeError as error:
        raise KnowledgeBaseError(
            f"type: {path} takes {signature}, not {', '.join(map(repr, settings)) or 'nothing'} ({error})."
        ) from error
    try:
        return found(**settings)
    except TypeError as error:  # methods are missing, or it is what the class says of a value
        raise KnowledgeBaseError(f"type: {path} can't be made ({error}).") from error


def _check_at_least(knowledge_base: KnowledgeBase, slots: Optional[Iterable[str]]) -> None:
    if slots is not None:
        allowed = sorted(slots)
        for slot in knowledge_base.at_least:
            if slot not in allowed:
                raise KnowledgeBaseError(
                    f"at_least: {slot!r} is not a goal slot; allowed: {', '.join(allowed)}."
                )


def _check_service(knowledge_base: KnowledgeBase, must_answer: bool) -> None:
    try:
        knowledge_base.check()
    except KnowledgeBaseUnavailable as error:
        if must_answer:
            raise
        logger.warning(
            "knowledge base: %s; the conversations go on without it until it does.", error
        )


def _check_keys(
    kind: str, settings: Mapping[str, Any], required: Mapping[str, Any], optional: Mapping[str, Any]
) -> None:
    allowed = {**required, **optional}
    for key, value in settings.items():
        if key not in allowed:
            close = difflib.get_close_matches(str(key), [*allowed, *GUARD_DEFAULTS], n=1)
            raise KnowledgeBaseError(
                f"unknown key {key!r} (value {value!r}) for type {kind}"
                + (f", did you mean {close[0]!r}?" if close else ";")
                + f" allowed: {', '.join(sorted([*allowed, *GUARD_DEFAULTS]))}."
            )
        _check_value(key, value, allowed[key])
    for key in required:
        if key not in settings:
            raise KnowledgeBaseError(f"type {kind} needs the key {key!r}: {required[key][1]}.")


def _check_value(key: str, value: Any, rule: Tuple[Callable[[Any], bool], str]) -> None:
    is_allowed, description = rule
    if not is_allowed(value):
        shown = repr(value) if key != "url" else "the value"
        raise KnowledgeBaseError(f"{key}: {shown} can't be used; allowed: {description}.")


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value
        and abs(value) < 1e9
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_NAME = (_is_name, "a text")
_AT_LEAST = (
    lambda value: (
        isinstance(value, Mapping)
        and all(_is_name(name) for pair in value.items() for name in pair)
    ),
    "goal slots with the column that has to be at least their value, e.g. {num_tickets: seats}",
)
_ORDER_BY = (
    lambda value: isinstance(value, (list, tuple)) and all(_is_name(name) for name in value),
    "a list of columns, `-column` for descending",
)
_COUNT = (
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "a whole number above 0",
)
_SECONDS = (lambda value: _is_number(value) and value > 0, "seconds above 0")
_SECONDS_OR_NONE = (lambda value: _is_number(value) and value >= 0, "seconds, 0 for never")

_GUARD_KEYS: Dict[str, Tuple[Callable[[Any], bool], str]] = {
    "timeout": _SECONDS,
    "cache_seconds": _SECONDS_OR_NONE,
    "values_seconds": _SECONDS,
    "failures_to_open": _COUNT,
    "retry_after_seconds": _SECONDS,
}

_Keys = Dict[str, Tuple[Callable[[Any], bool], str]]
#: Type to its required keys, its optional keys, and what builds it.
_TYPES: Dict[str, Tuple[_Keys, _Keys, Callable[..., KnowledgeBase]]] = {
    "memory": (
        {"path": (_is_name, "a .csv, .yml or .yaml file")},
        {"at_least": _AT_LEAST, "id_column": _NAME},
        _memory,
    ),
    "sql": (
        {"table": (_is_name, "the name of a table or view")},
        {
            "url": (_is_name, "a database URL such as sqlite:///db/file.db"),
            "url_env": (_is_name, "the environment variable that holds the URL"),
            "schema": _NAME,
            "order_by": _ORDER_BY,
            "at_least": _AT_LEAST,
            "id_column": _NAME,
            "limit": _COUNT,
        },
        _sql,
    ),
}
