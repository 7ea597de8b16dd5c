"""Which continuous integration this is, and what it says of the pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TARGETS", "VARIABLES", "target_branch", "variable"]

VARIABLES = (
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BITBUCKET_BUILD_NUMBER",
    "BUILDKITE",
    "CIRCLECI",
    "CODEBUILD_BUILD_ID",
    "DRONE",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
    "TRAVIS",
    "APPVEYOR",
    "CI",
)
"""Variables by which continuous integration tells what it is; the first one set is named."""

_OFF = frozenset({"", "0", "false", "no", "off"})
TARGETS = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "CHANGE_TARGET",
)
"""Variables that name the branch a pull request is to be merged into."""


def variable(environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable that says this is continuous integration, or None."""
    return next((v for v in VARIABLES if environ.get(v, "").strip().lower() not in _OFF), None)


def target_branch(environ: Mapping[str, str]) -> str | None:
    """Return the branch that the pull request under test is to be merged into, or None."""
    found = next((environ[name] for name in TARGETS if environ.get(name)), None)
    return None if found is None else found.removeprefix("refs/heads/")
