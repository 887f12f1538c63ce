"""Documents of headings, texts, tables and pictures, as Markdown and as one HTML page that loads nothing else."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import Sequence, Union


@dataclass(frozen=True)
class Heading:
    """Of the whole document (level 1) or of a section (level 2)."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines that are shown as they are.

    Args:
        text: the lines.
        language: of the lines.
    """

    text: str
    language: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers.

    Args:
        header: of its columns.
        rows: as many cells each.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        name: of the file that Markdown shows.
        png: what HTML shows.
        caption: what stands below.
    """

    name: str
    png: bytes
    caption: str


Block = Union[Heading, Text, Code, Table, Picture]
_CODE = re.compile(r"`([^`]+)`")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
    "th{background:#f3f3f3}img{max-width:100%}pre{background:#f6f6f6;padding:1em;overflow:auto}figure{margin:1em 0}"
)


def markdown(blocks: Sequence[Block]) -> str:
    """The document as Markdown; pictures are files that lie beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def page(title: str, blocks: Sequence[Block]) -> str:
    """The document as one HTML page, with its pictures in it.

    Args:
        title: of the browser's window.
        blocks: of the document.
    """
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(map(_html, blocks))}</body></html>\n"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    if isinstance(block, Table):
        lines = [block.header, ["---"] * len(block.header), *block.rows]
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"![{block.caption}]({block.name})\n\n{block.caption}"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_words(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{_words(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    if isinstance(block, Table):
        lines = [_row("th", block.header), *(_row("td", row) for row in block.rows)]
        return f"<table>{''.join(lines)}</table>"
    data = base64.b64encode(block.png).decode()
    return (
        f'<figure><img alt="{html.escape(block.caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_words(block.caption)}</figcaption></figure>"
    )


def _words(text: str) -> str:
    """Text with what stands between backticks as code, as Markdown has it."""
    parts = enumerate(_CODE.split(text))
    return "".join(f"<code>{html.escape(p)}</code>" if i % 2 else html.escape(p) for i, p in parts)


def _row(tag: str, cells: Sequence[object]) -> str:
    shown = (f"<{tag}>{_words(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{''.join(shown)}</tr>"
