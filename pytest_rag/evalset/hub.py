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

from pytest_rag.errors import message_of
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


def library(*, hub: bool = False) -> Any:
    """Import `datasets`, which tells nobody that it is used and asks no hub unless that is wanted.

    Raises:
        MissingExtraError: if it is not installed.
    """
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    with _environment(quiet):
        datasets: Any = require("datasets", "datasets")
        constants: Any = require("huggingface_hub.constants", "datasets")
    offline = not hub
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    datasets.config.HF_HUB_OFFLINE = datasets.config.HF_DATASETS_OFFLINE = offline
    constants.HF_HUB_OFFLINE = offline
    constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.disable_progress_bars()
    return datasets


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
    datasets = library(hub=reached)
    streaming = local or bulk.streaming
    try:
        found = datasets.load_dataset(
            name, bulk.config or None, split=bulk.split or None, streaming=streaming
        )
        if hasattr(found, "keys"):
            found = found[split_of(bulk.split, list(found))]
        names: list[str] | None = None
        for batch in found.with_format("arrow").iter(_BATCH):
            names = needed(batch.column_names) if names is None else names
            yield from batch_rows(batch, names)
    except TableError:
        raise
    except Exception as error:  # a library that raises whatever its many readers raise
        raise TableError(_sentence(error, bulk, local=local, reached=reached)) from error


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
