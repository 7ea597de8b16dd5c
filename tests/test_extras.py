"""Without an optional package: the message names the extra that brings it, whatever asks for it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from pytest_rag import metrics
from pytest_rag.cache import open_cache
from pytest_rag.config import Config, JudgeSettings, OpenAICompatible
from pytest_rag.errors import MissingExtraError
from pytest_rag.judging import Models
from pytest_rag.metrics import ragas
from pytest_rag.pipelines.corpus import load_corpus
from pytest_rag.pipelines.language import Stems
from pytest_rag.report.dashboard import charts
from pytest_rag.vectors import embed

ROOT = Path(__file__).resolve().parents[1]
