"""Datasets by the `datasets` library: folders of data files, and the Hugging Face Hub if asked for.

Nothing of a dataset is executed: releases of the library that ran a dataset's own script are not
supported. The hub is asked only for a dataset that is named by its name there.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_rag.errors import MissingExtraError, message_of
from pytest_rag.evalset.problems import show
from pytest_rag.evalset.tables import TableError, batch_rows, split_of
from pytest_rag.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.evalset.lines import Row
    from pytest_rag.evalset.model import BulkModel
    from pytest_rag.evalset.tables import Needed

__all__ = ["is_hub_name", "library", "library_rows"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_ENDPOINT = "https://huggingface.co"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_BATCH = 128


def is_hub_name(text: str) -> bool:
    """Tell whether a text may be the name of a dataset on the hub: ``name`` or ``owner/name``."""
    return _HUB_NAME.fullmatch(text) is not None


@contextmanager
def library(*, hub: bool = False) -> Iterator[Any]:
    """Yield `datasets`, which inside tells nobody that it is used, and asks no hub unless wanted.

    What the pipeline under test makes of it elsewhere is left as it was.

    Raises:
        MissingExtraError: if it is not installed.
    """
    datasets: Any = require("datasets", "datasets")
    constants: Any = require("huggingface_hub.constants", "datasets")
    offline = not hub
    wanted = (
        (datasets.config, "HF_HUB_OFFLINE", offline),
        (datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False),
        (constants, "HF_HUB_OFFLINE", offline),
        (constants, "HF_HUB_DISABLE_TELEMETRY", True),
    )
    before = [(module, name, getattr(module, name)) for module, name, _ in wanted]
    bars = not datasets.are_progress_bars_disabled()
    for module, name, value in wanted:
        setattr(module, name, value)
    datasets.disable_progress_bars()
    try:
        yield datasets
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        if bars:
            datasets.enable_progress_bars()


def library_rows(bulk: BulkModel, name: str, needed: Needed, *, local: bool) -> Iterator[Row]:
    """Yield the rows of a folder of data files, or of a dataset of the hub.

    Args:
        bulk: What is asked for.
        name: The folder, or the name on the hub.
        needed: Returns those of its columns that are read.
        local: Whether it is a folder.

    Raises:
        TableError: if it is not there, out of reach, or no dataset.
        MissingExtraError: if `datasets` is not installed.
    """
    reached = not local and _is_reachable()
    try:
        with library(hub=reached) as datasets:
            yield from _rows(datasets, bulk, name, needed, streaming=local or bulk.streaming)
    except (TableError, MissingExtraError):
        raise
    except Exception as error:  # a library that raises whatever its many readers raise
        raise TableError(_sentence(error, bulk, local=local, reached=reached)) from error


def _rows(
    datasets: Any, bulk: BulkModel, name: str, needed: Needed, *, streaming: bool
) -> Iterator[Row]:
    config, split = bulk.config or None, bulk.split or None
    found = datasets.load_dataset(name, config, split=split, streaming=streaming)
    if hasattr(found, "keys"):
        found = found[split_of(bulk.split, list(found))]
    names: list[str] | None = None
    for batch in found.with_format("arrow").iter(_BATCH):
        names = needed(batch.column_names) if names is None else names
        yield from batch_rows(batch, names)


def _sentence(error: Exception, bulk: BulkModel, *, local: bool, reached: bool) -> str:
    said = " ".join(message_of(error).split())[:200].rstrip(".")
    if local:
        return f"{show(bulk.dataset)} cannot be read as a dataset: {said}."
    if not reached:
        return (
            f"{show(bulk.dataset)} is no file or folder here, and the Hugging Face Hub cannot be "
            "reached. Save the dataset once with save_to_disk, and name that folder."
        )
    return f"{show(bulk.dataset)} cannot be loaded from the Hugging Face Hub: {said}."


def _is_reachable() -> bool:
    """Tell whether the hub's name has an address; the library would try for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").casefold() in ("1", "true", "yes", "on"):
        return False
    if any(os.environ.get(name) for name in _PROXIES):
        return True
    host: Any = urlsplit(os.environ.get("HF_ENDPOINT") or _ENDPOINT).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
