"""The files of a web page, and the headers that they are sent with.

A page is a module and, beside it under the same name, its HTML, style and script. It may also use the look and the script
in this folder, which all pages share. Addresses are relative, so a page works wherever it is mounted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

#: Nothing from other hosts, and nobody may put the page into theirs.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_OF_A_PAGE = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_SHARED = {"look.css": "text/css", "shared.js": "text/javascript"}


class PageFile(NamedTuple):
    """Content of a file, and its type for HTTP."""

    content: bytes
    content_type: str


def page_file(module: str, name: str) -> PageFile:
    """A file that a page consists of.

    Args:
        module: path of the page's module.
        name: empty for the page itself, else `page.css`, `page.js`, or `look.css`, `shared.js` of all pages.

    Raises:
        LookupError: if there is no such file.
    """
    if name in _SHARED:
        path, kind = Path(__file__).with_name(name), _SHARED[name]
    else:
        kind = _OF_A_PAGE[name]
        path = Path(module).with_suffix(Path(name).suffix or ".html")
    return PageFile(path.read_bytes(), f"{kind}; charset=utf-8")
