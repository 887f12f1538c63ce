"""Pages find every file that they name and nothing else; tokens are taken as clients send them."""

from __future__ import annotations

import re

import pytest

from rasa_hybrid.components import teaching_page
from rasa_hybrid.feedback import rating_page
from rasa_hybrid.web.files import page_file
from rasa_hybrid.web.tokens import is_bearer


@pytest.mark.parametrize("module", [teaching_page, rating_page], ids=lambda m: m.__name__)
def test_every_file_that_a_page_names_is_there(module):
    page = page_file(module.__file__, "")
    assert page.content_type == "text/html; charset=utf-8"
    named = re.findall(r'(?:href|src)="(?:teach/)?(\w+\.\w+)"', page.content.decode())
    script = page_file(module.__file__, "page.js").content.decode()
    named += re.findall(r'from "\./(\w+\.\w+)"', script)
    assert sorted(named) == ["look.css", "page.css", "page.js", "shared.js"]
    for name in named:
        file = page_file(module.__file__, name)
        assert file.content
        kind = {"css": "text/css", "js": "text/javascript"}[name.partition(".")[2]]
        assert file.content_type == f"{kind}; charset=utf-8"


@pytest.mark.parametrize("name", ["page.html", "page.py", "tokens.py", "../web/look.css", "/"])
def test_a_page_gives_away_no_other_file(name):
    with pytest.raises(LookupError):
        page_file(rating_page.__file__, name)


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("Bearer secret", True),
        ("bearer  secret ", True),
        ("Bearer secrets", False),
        ("Basic secret", False),
        ("Bearer", False),
        ("Bearer \udce9", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_right_bearer_token_is_taken(header, is_right):
    assert is_bearer(header, "secret") is is_right
