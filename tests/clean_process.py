"""Processes that start from one that has imported what takes seconds, and has done nothing else.

A fork of a process of pytest inherits what earlier tests left there: threads that are gone, and an autograd engine that refuses to work.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

IMPORTED = ["tonetransfer.pipeline.transfer", "tonetransfer.data.prepare"]


def clean_processes() -> BaseContext:
    """The context that they are begun in; where processes cannot be forked, that of the system."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
