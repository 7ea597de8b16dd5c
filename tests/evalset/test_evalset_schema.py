"""The JSON Schema tells editors what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from pytest_rag.errors import EvalSetError
from pytest_rag.evalset import json_schema, load

ROOT = Path(__file__).parents[2]
CASE = "cases: [{id: a, query: q}]\n"

GOOD = [
    CASE,
    "cases: [{id: 1, query: q, answer: 5, relevant: {184: 3}, forbidden: [7]}]",
    "cases: [{id: a, query: q, answer: [x, y], relevant: [a, b], tags: [hr]}]",
    "cases: [{id: a, query: q, answerable: false}]",
    "cases: [{id: a, query: q, filters: {a: [1, x], b: true}, repeat: 3, timeout_s: 0.5}]",
    "cases: [{id: a, query: q, checks: {contains: x, calls: {max: 3}, tokens: 2}}]",
    CASE + "pipeline: a.b:c",
    CASE + "pipeline: {factory: 'a:b', params: {k: [1]}}",
    CASE + "pipeline: {local: {corpus: docs}}",
    CASE + "gate: {R@5: 0.4, latency_ms.p95: {max: 3}, alpha: 0.1}",
    CASE + "defaults: {checks: {calls: 2}, repeat: 2, min_pass: 1, tags: [x]}",
]
BAD = [
    "{}",
    "[]",
    "cases: 3",
    "cases: [{id: a}]",
    "cases: [{query: q}]",
    "cases: [{id: a, query: q, wrong: 1}]",
    "cases: [{id: a, query: ' '}]",
    "cases: [{id: a, query: q, answer: null}]",
    "cases: [{id: a, query: q, answerable: 'no'}]",
    "cases: [{id: a, query: q, answerable: false, answer: x}]",
    "cases: [{id: a, query: q, answerable: false, relevant: [x]}]",
    "cases: [{id: a, query: q, relevant: {a: -1}}]",
    "cases: [{id: a, query: q, relevant: x}]",
    "cases: [{id: a, query: q, tags: [hr-x]}]",
    "cases: [{id: a, query: q, filters: {a: {b: c}}}]",
    "cases: [{id: a, query: q, repeat: 0}]",
    "cases: [{id: a, query: q, repeat: 1001}]",
    "cases: [{id: a, query: q, timeout_s: 0}]",
    "cases: [{id: a, query: q, checks: {calls: true}}]",
    CASE + "pipeline: nothing",
    CASE + "pipeline: {factory: 'a:b', local: {}}",
    CASE + "pipeline:",
    CASE + "gate: {alpha: 0.5}",
    CASE + "gate: {R@5: x}",
    CASE + "gate: {R@5: {mn: 1}}",
    CASE + "defaults: {wrong: 1}",
    CASE + "cases_from: {map: {}}",
    CASE + "wrong: 1",
]


def fits(text):
    """Tell whether a YAML text fits the schema, with its keys as an editor sees them."""
    as_json = json.loads(json.dumps(yaml.safe_load(text)))
    return jsonschema.Draft202012Validator(json_schema()).is_valid(as_json)


@pytest.mark.parametrize("text", GOOD)
def test_good_files(text):
    """What loads fits the schema."""
    assert load(Path("x.rag.yaml"), text=text.encode()).cases
    assert fits(text)


@pytest.mark.parametrize("text", BAD)
def test_bad_files(text):
    """What does not load does not fit the schema."""
    with pytest.raises(EvalSetError):
        load(Path("x.rag.yaml"), text=text.encode())
    assert not fits(text)


def test_the_schema_itself():
    """The schema is a valid one, and describes every key."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    models = [schema, *schema["$defs"].values()]
    assert all("description" in key for model in models for key in model["properties"].values())


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("evalsets/*.rag.yaml")), ids=lambda path: path.name
)
def test_the_example_files(path):
    """The example sets load and fit the schema."""
    assert load(path).cases
    assert fits(path.read_text(encoding="utf-8"))
