"""The taught corpus: dialogues that people corrected, as Rasa stories, and the journal of those that go on.

A journal is append-only. Every event is on disk before the teacher is asked the next question, and undoing is an event too:
what stands follows from reading it again. A killed process loses at most the question on its screen.
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Sequence, Tuple

import yaml

try:
    import fcntl
except ImportError:  # Windows: two teachers there have to use two folders
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: Folder of the corpus, beside `config.yml`.
DEFAULT_DIRECTORY = "data_taught"
#: Folder of the journals, inside of the corpus.
UNFINISHED = "unfinished"
#: File of what the agent would have done, and what the teacher said.
CORRECTIONS = "corrections.jsonl"
_VERSION = 1

Record = Dict[str, Any]


class TaughtCorpusError(Exception):
    """A file of the taught corpus can't be used; the message names it."""


class JournalInUseError(TaughtCorpusError):
    """Somebody teaches this dialogue now."""


@dataclass(frozen=True)
class Story:
    """A taught dialogue.

    Args:
        name: what it is called in reports.
        steps: of a Rasa story, as they stand in YAML.
    """

    name: str
    steps: Tuple[Mapping[str, Any], ...]


class Journal:
    """The events of one dialogue on disk, as long as the dialogue is not finished.

    Nobody else can open a journal while this process has it open.

    Args:
        path: of the file; it is made if need be.
        conversation: the conversation's id, for a new file.

    Raises:
        TaughtCorpusError: if the file is no journal, or somebody has it open.
    """

    def __init__(self, path: Path, conversation: str = "") -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = open(path, "a+b")  # noqa: SIM115, open as long as the dialogue
        try:
            self._lock()
            header, self.events, end = _read_journal(path)
            self._file.truncate(end)  # half a line that a killed process left
            if header is None:
                header = {
                    "journal": _VERSION,
                    "conversation": conversation,
                    "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                }
                self._write([header])
                _sync_directory(path.parent)
        except Exception:
            self._file.close()
            raise
        self.conversation = str(header["conversation"])
        self.started = str(header["started"])

    def append(self, events: Sequence[Record]) -> None:
        """Adds events; they are on disk when this returns."""
        if events:
            self._write(events)
            self.events.extend(events)

    def close(self) -> None:
        """Lets others open the file."""
        self._file.close()

    def _write(self, records: Sequence[Record]) -> None:
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        self._file.write(lines.encode("utf-8"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalInUseError(f"{self.path} is open in another process.") from error


class TaughtCorpus:
    """A folder of taught dialogues.

    Args:
        directory: the folder; it is made when something is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    def start(self, conversation: str) -> Journal:
        """The journal of a new dialogue."""
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S")
        name = re.sub(r"[^\w.-]", "_", conversation)[-8:]
        folder = self.directory / UNFINISHED
        path, number = folder / f"{stamp}-{name}.jsonl", 1
        while path.exists():
            number += 1
            path = folder / f"{stamp}-{name}-{number}.jsonl"
        return Journal(path, conversation)

    def unfinished(self) -> List[Path]:
        """Journals of dialogues that were broken off and that nobody goes on with now, the oldest first."""
        free = []
        for path in sorted((self.directory / UNFINISHED).glob("*.jsonl")):
            try:
                Journal(path).close()
            except JournalInUseError:
                continue
            except TaughtCorpusError as error:
                logger.warning(f"A dialogue can't be taken up again: {error}")
                continue
            free.append(path)
        return free

    def finish(
        self,
        journal: Journal,
        stories: Sequence[Story],
        corrections: Sequence[Record],
        stories_path: Optional[Path] = None,
    ) -> Optional[Path]:
        """Makes a dialogue a part of the corpus; its journal goes when everything is on disk.

        Doing it again after a crash changes nothing.

        Args:
            journal: of the dialogue.
            stories: what stands of it, in several parts if it was begun anew in between.
            corrections: what was corrected; the name of the dialogue is added.
            stories_path: another file for the stories, which are appended if it exists.

        Returns:
            The file of the stories; None if there are none.
        """
        name = journal.path.stem
        path = stories_path or self.stories_path(journal)
        if stories:
            text = stories_as_yaml(stories)
            if stories_path is not None and path.exists():
                before = path.read_text(encoding="utf-8")
                text = _appended(path, before, stories)
            _replace(path, text)
            self._log(name, corrections)
        self.discard(journal)
        return path if stories else None

    def stories_path(self, journal: Journal) -> Path:
        """Where the stories of a dialogue are kept."""
        return self.directory / f"{journal.path.stem}.yml"

    def discard(self, journal: Journal) -> None:
        """Throws a dialogue away."""
        journal.path.unlink()
        journal.close()

    def _log(self, name: str, corrections: Sequence[Record]) -> None:
        path = self.directory / CORRECTIONS
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            file.seek(0)
            lines = file.read()
            complete = lines[: lines.rfind(b"\n") + 1]
            file.truncate(len(complete))
            if any(json.loads(line).get("dialogue") == name for line in complete.splitlines()):
                return
            records = [{"dialogue": name, **record} for record in corrections]
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())


def stories_as_yaml(stories: Sequence[Story]) -> str:
    """A file of stories in Rasa's format."""
    return f'version: "3.1"\n\nstories:\n\n{_entries(stories)}'


class _Quoted(str):
    """A text in double quotes, so that no version of YAML takes it for a number or a truth value."""


class _Block(str):
    """A text on lines of its own."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def _entries(stories: Sequence[Story]) -> str:
    entries = []
    for story in stories:
        steps = [_step(step) for step in story.steps]
        entry = [{"story": _Quoted(story.name), "steps": steps}]
        entries.append(
            yaml.dump(entry, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
        )
    return "\n".join(entries)


def _step(step: Mapping[str, Any]) -> Dict[str, Any]:
    written = dict(step)
    if "user" in written:
        written["user"] = _Block(written["user"])
    if "slot_was_set" in written:
        written["slot_was_set"] = [
            {slot: _Quoted(value) if isinstance(value, str) else value}
            for slot, value in written["slot_was_set"].items()
        ]
    return written


def _appended(path: Path, before: str, stories: Sequence[Story]) -> str:
    """A file with further stories at its end; those that it has already are left out."""
    try:
        known = {entry.get("story") for entry in (yaml.safe_load(before) or {}).get("stories", [])}
    except (yaml.YAMLError, AttributeError) as error:
        raise TaughtCorpusError(f"{path} is no file of Rasa stories: {error}") from error
    new = [story for story in stories if story.name not in known]
    if not before.strip():
        return stories_as_yaml(new)
    if "stories:" not in before:
        before = before.rstrip("\n") + "\n\nstories:\n"
    # The entries stand as deep as those before them.
    indent = re.search(r"^stories:.*\n(?:\s*\n|\s*#.*\n)*( *)-", before, re.MULTILINE)
    depth = indent.group(1) if indent else ""
    entries = "".join(
        depth + line if line.strip() else line for line in _entries(new).splitlines(keepends=True)
    )
    return before.rstrip("\n") + "\n\n" + entries


def _read_journal(path: Path) -> Tuple[Optional[Record], List[Record], int]:
    """Header and events of a journal, and where its last whole line ends."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    lines = data[:end].splitlines()
    records: List[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise TaughtCorpusError(f"{path}, line {number}: {error}") from error
        records.append(record)
    if not records:
        return None, [], end
    if records[0].get("journal") != _VERSION:
        raise TaughtCorpusError(f"{path}, line 1: this is no journal of version {_VERSION}.")
    return records[0], records[1:], end


def _replace(path: Path, text: str) -> None:
    """Writes a file in one go: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
