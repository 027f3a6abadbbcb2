"""What tests ask of pages that people pass on."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Tags(HTMLParser):
    """Tags that stand open in the end, and all addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses += [value or "" for key, value in attributes if key in ("src", "href")]
        if tag not in ("meta", "line", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_self_contained(text: str) -> None:
    """Every tag is closed, nothing is fetched, and links within the page lead somewhere."""
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and "link" not in tags.names
    assert all(address.startswith(("data:", "#")) for address in tags.addresses)
    assert "://" not in text and "url(" not in text and "@import" not in text
    assert {address[1:] for address in tags.addresses if address.startswith("#")} <= set(re.findall(r'id="([^"]+)"', text))
