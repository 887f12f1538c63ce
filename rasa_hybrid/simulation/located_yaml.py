"""YAML whose mappings and lists remember their lines, so that a mistake in a configuration is reported with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, NoReturn, Optional, Union

import yaml


class SimulatorError(ValueError):
    """A configuration, template, goal or profile that can't be used; the message names file and line."""


class Located(Dict[str, Any]):
    """A mapping that knows the file it stands in, its own line and the line of each key."""

    path: str = ""
    line: int = 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: Dict[str, int] = {}

    def fail(self, message: str, key: Optional[str] = None) -> NoReturn:
        """Raises a `SimulatorError` that points at `key`, or at the mapping itself.

        Raises:
            SimulatorError: always.
        """
        raise SimulatorError(f"{self.path}:{self.lines.get(key or '', self.line)}: {message}")

    def only(self, allowed: Iterable[str], what: str) -> None:
        """Checks that no other keys than `allowed` stand here.

        Raises:
            SimulatorError: naming the first unknown key, its line, and what is allowed.
        """
        allowed = list(allowed)
        for key in self:
            if key not in allowed:
                self.fail(f"unknown {what} {key!r}; allowed: {', '.join(allowed)}", key)

    def number(self, key: str, default: float, low: float = 0.0, high: float = 1.0) -> float:
        """The number at `key`, `default` if absent.

        Raises:
            SimulatorError: if it is not a number in `[low, high]`.
        """
        value = self.get(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
        ):
            self.fail(f"{key} has to be a number between {low:g} and {high:g}, not {value!r}", key)
        return value

    def section(self, key: str) -> Located:
        """The mapping at `key`, an empty one if absent.

        Raises:
            SimulatorError: if something else stands there.
        """
        value = self.get(key)
        if value is None:
            empty = Located()
            empty.path, empty.line = self.path, self.lines.get(key, self.line)
            return empty
        if not isinstance(value, Located):
            self.fail(f"{key} has to be a mapping, not {value!r}", key)
        return value


class LocatedList(List[Any]):
    """A list that knows the line of each item."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: List[int] = []


class _Loader(yaml.SafeLoader):
    """Safe YAML into `Located` and `LocatedList`."""

    def construct_mapping_located(self, node: yaml.MappingNode) -> Located:
        result = Located()
        result.path, result.line = str(self.name), node.start_mark.line + 1
        for key_node, value_node in node.value:
            key, line = str(self.construct_object(key_node)), key_node.start_mark.line + 1
            if key in result:
                raise SimulatorError(
                    f"{result.path}:{line}: {key!r} stands here twice (first in line {result.lines[key]})"
                )
            result.lines[key] = line
            result[key] = self.construct_object(value_node, deep=True)
        return result

    def construct_sequence_located(self, node: yaml.SequenceNode) -> LocatedList:
        result = LocatedList()
        for item in node.value:
            result.append(self.construct_object(item, deep=True))
            result.lines.append(item.start_mark.line + 1)
        return result


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping_located)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_sequence_located)


def load_located(path: Union[str, Path]) -> Located:
    """The mapping in a YAML file, with lines.

    Args:
        path: the file.

    Returns:
        Its top-level mapping.

    Raises:
        SimulatorError: if the file can't be read, isn't YAML, or isn't a mapping; names file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SimulatorError(
            f"{path}: can't be read ({getattr(error, 'strerror', None) or error})"
        ) from error
    loader = _Loader(text)
    loader.name = str(path)
    try:
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SimulatorError(f"{path}:{line}: not YAML ({error.problem})") from error
    except yaml.YAMLError as error:
        raise SimulatorError(f"{path}: not YAML ({error})") from error
    finally:
        loader.dispose()
    if not isinstance(content, Located):
        raise SimulatorError(f"{path}:1: has to be a mapping")
    return content
