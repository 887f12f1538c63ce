"""The pages of the documentation, and what stands in them: blocks of code, command lines."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import List, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
    ROOT / "benchmarks" / "results" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.M | re.S)
_PROGRAMS = r"(?:rasa-hybrid|rasa|python|make|pip|cd)"
#: A line of code: indented, or between fences; it goes on after a backslash.
_CODE = re.compile(r"^( +)?((?:\\\n|[^\n])+)$", re.M)
_LINE = re.compile(rf"{_PROGRAMS} \S")
#: Code within a sentence or a table is a command if it has an option, a variable or a setting, and else a name.
_INLINE = re.compile(rf"`({_PROGRAMS}\s[^`]*(?:\s-|\$|=)[^`]*)`")
_VARIABLE = re.compile(r'^(\w+)="(.*)"$', re.M)


class Snippet(NamedTuple):
    """A fenced block; `line` is where it begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Command(NamedTuple):
    """A command line with its variables replaced, without line breaks and comments; `line` is where it begins."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(language: str) -> List[Snippet]:
    """All fenced blocks in a language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Snippet(page, line, match.group(2), textwrap.dedent(match.group(3))))
    return [snippet for snippet in found if snippet.language == language]


def commands() -> List[Command]:
    """The command lines of all pages, in order; those of the changelog are of their time and left out."""
    return [found for page in PAGES if page.name != "CHANGELOG.md" for found in _commands(page)]


def _commands(page: Path) -> List[Command]:
    text = page.read_text(encoding="utf-8")
    variables = _VARIABLE.findall(text)
    fences = [(match.start(), match.end()) for match in FENCE.finditer(text)]
    code = [
        match
        for match in _CODE.finditer(text)
        if len(match.group(1) or "") >= 4
        or any(start <= match.start() < end for start, end in fences)
    ]
    found = [(match.start(2), match.group(2)) for match in code if _LINE.match(match.group(2))]
    found += [
        (match.start(1), match.group(1))
        for match in _INLINE.finditer(text)
        if not any(start <= match.start() < end for start, end in fences)
    ]
    commands = []
    for start, line in sorted(found):
        for name, value in variables:
            line = line.replace(f"${name}", value)
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        # Operators of the shell stay what they are.
        plain = " ".join(word if word == "&" else shlex.quote(word) for word in words)
        commands.append(Command(page, text.count("\n", 0, start) + 1, plain))
    return commands
