"""The fixtures; overriding one in a conftest.py is how a project brings its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_rag.config import Config
    from pytest_rag.plugin.asking import Rag
    from pytest_rag.plugin.markers import Parameter


@pytest.fixture(scope="session")
def rag_config(pytestconfig: pytest.Config) -> Config:
    """The project's settings; override it to change them for a test run."""
    from pytest_rag.plugin import session_of

    return session_of(pytestconfig).project


@pytest.fixture(scope="session")
def rag_pipeline() -> Any:
    """The pipeline under test; override it to bring your own."""
    from pytest_rag.errors import PipelineError

    raise PipelineError(
        "There is no pipeline. Add `pipeline: package.module:factory` to the evalset, or define a "
        "session-scoped fixture `rag_pipeline` in conftest.py that returns it."
    )


@pytest.fixture
def rag_case(request: pytest.FixtureRequest) -> Parameter | None:
    """The case of a test marked ``rag(evalset=…)``; None without."""
    return getattr(request, "param", None)


@pytest.fixture
def rag(request: pytest.FixtureRequest, rag_config: Config, rag_case: Parameter | None) -> Rag:
    """Ask the pipeline a question, get an Observation, check it."""
    from pytest_rag.plugin import session_of
    from pytest_rag.plugin.asking import Rag
    from pytest_rag.plugin.session import RAG

    asking = Rag(request, session_of(request.config), rag_config, rag_case)
    request.node.stash[RAG] = asking
    return asking
