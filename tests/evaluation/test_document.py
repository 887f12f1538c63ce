"""Documents as Markdown and HTML: every kind of block, and nothing that a text may say is taken for a tag."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Dict, List

from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.evaluation.document import Code, Heading, Picture, Table, Text, markdown, page

BLOCKS = (
    Heading("What came out", level=1),
    Text("Three seeds."),
    Heading("Success"),
    Table(("model", "success"), [("SL", 0.5), ("SL+RL", "0.750")]),
    Picture("curve.png", b"picture", "Success by dialogues"),
    Code('{"seed": 1}', "json"),
)


TAGS = set("html meta title style body h2 p table tr th td pre figure img figcaption code".split())


class Page(HTMLParser):
    """The words of a page, tag by tag, and where pictures come from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: Dict[str, List[str]] = {}
        self.sources: List[str] = []
        self._open = ""
        self._around: List[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._around.append(self._open)
        self._open = self._open if tag == "code" else tag
        self.words.setdefault(tag, []).append("")
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_endtag(self, tag):
        self._open = self._around.pop()

    def handle_data(self, data):
        if self._open:
            self.words[self._open][-1] += data


def test_markdown_has_every_block():
    assert markdown(BLOCKS) == (
        "# What came out\n\n"
        "Three seeds.\n\n"
        "## Success\n\n"
        "| model | success |\n| --- | --- |\n| SL | 0.5 |\n| SL+RL | 0.750 |\n\n"
        "![Success by dialogues](curve.png)\n\nSuccess by dialogues\n\n"
        '```json\n{"seed": 1}\n```\n'
    )


def test_a_page_has_every_block_and_its_pictures_in_it():
    shown = Page(page("Reproduced", BLOCKS))
    assert shown.words["title"] == ["Reproduced"]
    assert shown.words["h1"] == ["What came out"] and shown.words["h2"] == ["Success"]
    assert shown.words["th"] == ["model", "success"]
    assert shown.words["td"] == ["SL", "0.5", "SL+RL", "0.750"]
    assert shown.words["figcaption"] == ["Success by dialogues"]
    assert shown.words["pre"] == ['{"seed": 1}']
    [source] = shown.sources
    kind, data = source.split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == b"picture"


def test_code_within_a_sentence_is_code():
    assert "<p>Set <code>a &lt; b</code> to `1.</p>" in page("t", [Text("Set `a < b` to `1.")])


@given(st.text(alphabet="<>&\"'/ab`|", min_size=1))
def test_no_text_becomes_a_tag_but_what_stands_between_backticks(text):
    blocks = [Heading(text), Text(text), Table((text,), [(text,)]), Code(text)]
    blocks.append(Picture("p.png", b"p", text))
    shown = Page(page(text, blocks))
    assert shown.words["title"] == shown.words["pre"] == [text]
    for tag in ("h2", "p", "th", "td", "figcaption"):
        assert shown.words[tag] == [re.sub("`([^`]+)`", r"\1", text)]
    assert set(shown.words) <= TAGS
    assert len(shown.sources) == 1
