"""``tonetransfer demo``: the page in ``demo/`` is found and served. Nothing heavy is imported before the page is there."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import MissingDependencyError
from . import options
from .options import Report

PACKAGE = "tonetransfer_demo"  # what demo/ is called once it is installed
CHECKOUT = Path(__file__).parents[2] / "demo"


def add_demo(verbs: Any) -> None:
    verb = options.add_verb(verbs, "demo", "tone transfer in the browser, for this computer or for others", demo, loads=None)
    verb.add_argument("--host", default="127.0.0.1", help="0.0.0.0: other computers may come, too (default: this one alone)")
    verb.add_argument("--port", metavar="N", type=options.PORT, help="default: the first free one from 7860")
    verb.add_argument("--share", action="store_true", help="lend the page a public address, through a server of Gradio's makers")
    verb.add_argument("--keep", metavar="MINUTES", type=options.MINUTES, default=30.0, help="recordings and results are kept (default: 30)")
    options.add_weights(verb)


def demo(arguments: Namespace) -> Report:
    page = find_page()
    if arguments.weights:
        from ..models.weights import read_notes

        read_notes(arguments.weights)  # refused now, and not when the first visitor comes
    try:
        options = {"share": arguments.share, "weights": arguments.weights, "kept_s": 60.0 * arguments.keep}
        page.serve(arguments.host, arguments.port, tell=_tell, **options)
    except KeyboardInterrupt:
        pass  # the way to end it
    except OSError as error:
        raise MissingDependencyError(
            f"the page cannot be served at {arguments.host!r} ({error}); choose another --host or --port"
        ) from None
    return {"host": arguments.host, "port": arguments.port}, ["the page is closed, and its files are removed"]


def find_page() -> ModuleType:
    """The page's module ``app``; MissingDependencyError where Gradio is not installed, or the page is not."""
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError("the page needs gradio, which is not installed; install it with: pip install 'tonetransfer[demo]'")
    return find_part("app")


def find_part(name: str) -> ModuleType:
    """A module of the page: of the installed package, or of the folder beside this one in a checkout.

    MissingDependencyError: neither is there.
    """
    if PACKAGE not in sys.modules and (CHECKOUT / "studio.py").is_file():
        spec = importlib.util.spec_from_file_location(PACKAGE, CHECKOUT / "__init__.py", submodule_search_locations=[str(CHECKOUT)])
        assert spec is not None and spec.loader is not None
        sys.modules[PACKAGE] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif importlib.util.find_spec(PACKAGE) is None:
        raise MissingDependencyError("the page (demo/) is missing from this installation; install the package again")
    return importlib.import_module(f"{PACKAGE}.{name}")


def _tell(address: str) -> None:
    print(f"the page is at {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
