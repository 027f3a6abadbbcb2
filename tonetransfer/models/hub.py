"""Instruments on a model hub: ``hf://owner/repo``, through huggingface_hub (an extra).

Nothing is fetched or sent unless an address is named. Where the hub is and who asks is the business of huggingface_hub (``HF_ENDPOINT``,
``hf auth login``); what comes is read as any weights file is: safetensors, strictly, never pickle.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..atomic import check_new, replacing
from ..errors import MissingDependencyError, WeightsError
from .weights import load_model, model_card, read_notes

SCHEME = "hf://"
ENDING = ".safetensors"
ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?P<file>(/[\w.-]+)*/[\w.-]+\.safetensors)?(:(?P<name>[\w@ -]+))?")


def is_address(name: object) -> bool:
    """Test whether something names a place on a hub."""
    return str(name).startswith(SCHEME)


def parse_address(address: str) -> tuple[str, str | None, str | None]:
    """Repository, file in it and instrument in that of ``hf://owner/repo[/FILE.safetensors][:NAME]``; raises WeightsError."""
    found = ADDRESS.fullmatch(address)
    if found is None or ".." in address.split("/"):
        raise WeightsError(f"{address}: is no address; hf://owner/repo is wanted, or hf://owner/repo/FILE{ENDING} if it holds several")
    file = found["file"]
    return found["repo"], file[1:] if file else None, found["name"]


def push(path: Path, address: str, *, private: bool = False) -> str:
    """Put a weights file and its model card into a repository (``hf://owner/repo``), which is made if it is not there.

    Where it can be seen. One commit, whole or not at all. A card beside the file (the same name, ``.md``) becomes the repository's page,
    else one is written from its notes. WeightsError: it is no weights file, or the hub does not take it.
    """
    repo, file, name = parse_address(address)
    if name:
        raise WeightsError(f"{address}: a weights file is sent whole; leave out :{name}")
    load_model(path)
    hub = _library()
    card = path.with_suffix(".md")
    notes = read_notes(path)
    text = card.read_text(encoding="utf-8") if card.is_file() else model_card(notes["instruments"], notes["notes"])
    additions = [hub.CommitOperationAdd(file or path.name, str(path)), hub.CommitOperationAdd("README.md", text.encode())]
    with _told(address, "sent"):
        api = hub.HfApi(library_name="tonetransfer")
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.create_commit(repo, additions, commit_message=f"{path.stem}: an instrument for tonetransfer")
    return str(done.repo_url)


def fetch(address: str) -> Path:
    """A weights file from a repository, kept in the hub's own cache.

    WeightsError: there is none, several without a choice, or the hub does not answer.
    """
    repo, file, _ = parse_address(address)
    hub = _library()
    with _told(address, "fetched"):
        if file is None:
            file = _only(address, hub.HfApi(library_name="tonetransfer").list_repo_files(repo))
        return Path(hub.hf_hub_download(repo, file, library_name="tonetransfer"))


def pull(address: str, output: Path | None = None, *, overwrite: bool = False) -> Path:
    """A weights file from a repository as a file of one's own, checked before it is put in its place; returns its path.

    WeightsError: as :func:`fetch`; or it is no instrument of this version; or `output` exists.
    """
    cached = fetch(address)
    path = output or Path(cached.name)
    if path.suffix != ENDING:
        raise WeightsError(f"{path}: weights are kept in a file ending in {ENDING}; choose such a name")
    check_new(path, WeightsError, overwrite=overwrite)
    load_model(cached)
    with replacing(path, error=WeightsError) as part:
        shutil.copyfile(cached, part)
    return path


def _only(address: str, files: list[str]) -> str:
    """The weights file of a repository that holds one."""
    found = sorted(file for file in files if file.endswith(ENDING))
    if len(found) == 1:
        if found[0].startswith("/") or "\\" in found[0] or ":" in found[0] or ".." in found[0].split("/"):
            raise WeightsError(f"{address}: lists {found[0]!r}, which is no place within it; do not trust it")
        return found[0]
    if not found:
        raise WeightsError(f"{address}: holds no weights file (none of its {len(files)} files ends in {ENDING}); check the address")
    raise WeightsError(f"{address}: holds {len(found)} weights files; choose one: {', '.join(f'{address}/{file}' for file in found[:5])}")


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingDependencyError(f"{SCHEME} addresses need huggingface_hub; pip install 'tonetransfer[hub]'") from None
    return huggingface_hub


@contextmanager
def _told(address: str, done: str) -> Iterator[None]:
    """An error of the hub or of the line to it, in one line."""
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:
        problem = " ".join(str(getattr(error, "server_message", None) or error).split())[:160]
        kinds = (errors.HfHubHTTPError, errors.HFValidationError, errors.EntryNotFoundError, errors.LocalTokenNotFoundError)
        if isinstance(error, kinds):
            raise WeightsError(f"{address}: was not {done} ({problem}); check the address, or log in with `hf auth login`") from None
        if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise WeightsError(f"{address}: was not {done}: the hub does not answer ({problem}); check the connection") from None
        raise
