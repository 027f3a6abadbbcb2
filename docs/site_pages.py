"""Pages of the site that are made while MkDocs builds it: the command line, the public names, and copies from other folders."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
API_HEAD = """# Python

```python
import numpy as np
import torch
import tonetransfer as tt
```

is what the examples assume.
"""


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are generated."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    for name, source in sounds().items():
        files.append(File.generated(config, name, abs_src_path=str(source)))
    return files


def on_page_content(html: str, **_more: Any) -> str:
    """Show the roles of reStructuredText in docstrings as code."""
    return re.sub(r":(?:func|class|meth|mod|attr|data):<code>~?(?:[\w.]+\.)?(\w+)</code>", r"<code>\1</code>", html)


def pages() -> dict[str, str]:
    """Text of each generated page by its name."""
    made = {name: with_links((ROOT / source).read_text(encoding="utf-8")) for name, source in COPIES.items()}
    return made | {"commands.md": command_line(), "api.md": api()}


def sounds() -> dict[str, Path]:
    """Recordings of the first page that lie outside docs/, by their names on the site."""
    examples = yaml.safe_load((ROOT / "docs" / "examples.yaml").read_text(encoding="utf-8"))
    return {f"sound/{Path(one['file']).name}": ROOT / one["file"] for one in examples if not one["file"].startswith("docs/")}


def with_links(text: str) -> str:
    """Links that lead from the repository's root, made to lead from the folder of the site; what is not on it becomes plain text."""
    text = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", text)
    for page, source in COPIES.items():
        text = text.replace(f"]({source})", f"]({page})")
    return re.sub(r"\[([^\]]+)\]\((?:demo|examples)/[^)]*\)", r"`\1`", text)


def command_line() -> str:
    """Help of each verb, as the program prints it."""
    from tonetransfer.cli.main import build_parser

    os.environ["COLUMNS"] = "110"  # of what argparse prints
    parts = ["# Command line\n"]
    for parser in verbs(build_parser()):
        parts.append(f"## {parser.prog}\n\n```text\n{parser.format_help()}```\n")
    return "\n".join(parts)


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Parsers of all verbs that do something themselves, in the order of the help."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for child in dict.fromkeys(action.choices.values()):
            yield from verbs(child)


def api() -> str:
    """A page of all public names; mkdocstrings fills in their docstrings."""
    import tonetransfer

    return API_HEAD + "\n".join(f"\n::: tonetransfer.{name}" for name in sorted(tonetransfer.__all__, key=str.lower)) + "\n"
