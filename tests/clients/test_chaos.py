"""Whatever a provider does, the case ends in the right outcome and nothing paid for is lost."""

from __future__ import annotations

from llmock.scenarios import Delay, Fail, SlowFirstToken, StreamFault

STREAMS = ("stream", "astream")
WAYS = ("complete", "acomplete", *STREAMS)


def test_a_refusal_is_waited_out(chaos):
    """What Retry-After asks for is waited, and is no latency; the refusal cost nothing."""
    for way, result in chaos.ask(Fail(429, retry_after=1), *WAYS, "embed").items():
        assert result["outcome"] == "passed"
        assert chaos.asked(way) == 2
        assert result["wait_ms"] >= 1000
        stages = result["stages_ms"].values()
        assert all(ms <= result["latency_ms"] + 1 for ms in stages)
        (call,) = result["calls"]
        assert call["latency_ms"] <= result["latency_ms"] + 1


def test_an_outage_ends_in_a_reason(chaos):
    """It is asked as often as the client would, not as often squared, and nothing was paid."""
    for way, result in chaos.ask(Fail(503, times=None), *WAYS).items():
        assert result["outcome"] == "error"
        assert chaos.asked(way) == 3
        assert ": Asked 3 times within" in result["error"]["message"]
        assert result["calls"] == []


def test_a_configured_number_of_retries_counts(chaos):
    """It stands above what the client says."""
    chaos.ask(Fail(500, times=None), "complete", config="[tool.pytest-rag]\nretries = 1\n")
    assert chaos.asked("complete") == 2


def test_what_cannot_succeed_is_not_asked_again(chaos):
    """An account with nothing left answers 429 too, and waiting does not mend it."""
    for way, result in chaos.ask(Fail(429, code="insufficient_quota"), *WAYS).items():
        assert result["outcome"] == "error"
        assert chaos.asked(way) == 1


def test_a_wait_that_is_too_long_is_not_begun(chaos):
    """Where the provider asks for more time than the case has, the case says so at once."""
    for way, result in chaos.ask(
        Fail(429, retry_after=3600), *WAYS, case=", timeout_s: 60"
    ).items():
        assert result["outcome"] == "error"
        assert "wait of 3600 s that the provider asks for" in result["error"]["message"]
        assert chaos.asked(way) == 1


def test_a_timeout_is_tried_again_and_may_have_cost(chaos):
    """The attempt stays among the calls, its tokens unknown, so the cost is unknown as well."""
    for result in chaos.ask(Delay(4.0), "complete", "acomplete").values():
        assert result["outcome"] == "passed"
        assert [call["input_tokens"] is None for call in result["calls"]] == [True, False]
        assert result["cost_usd"] is None


def test_a_connection_cut_in_midstream_is_the_cases_error(chaos):
    """Text was given to the pipeline, so it is not asked again; the attempt is in the record."""
    for way, result in chaos.ask(StreamFault("disconnect", after_chunks=3), *STREAMS).items():
        assert result["outcome"] == "error"
        message = result["error"]["message"]
        assert "The connection broke before the answer was complete" in message
        assert "Part of the answer had been given to the pipeline" in message
        assert chaos.asked(way) == 1
        assert len(result["calls"]) == 1


def test_a_stream_cut_before_its_first_word_is_asked_again(chaos):
    """Nothing was given to the pipeline yet; what may have been paid stays in the record."""
    for way, result in chaos.ask(StreamFault("disconnect", after_chunks=0), *STREAMS).items():
        assert result["outcome"] == "passed"
        assert chaos.asked(way) == 2
        assert len(result["calls"]) == 2


def test_an_answer_cut_short_is_no_answer(chaos):
    """The client takes a stream that merely stops for a whole one; the case does not."""
    for result in chaos.ask(StreamFault("truncate", after_chunks=3), *STREAMS).values():
        assert result["outcome"] == "error"
        assert result["error"]["type"] == "BrokenAnswerError"
        assert "cut short" in result["error"]["message"]
        assert len(result["calls"]) == 1


def test_a_malformed_piece_is_the_cases_error(chaos):
    """Its text says what it is."""
    for result in chaos.ask(StreamFault("malformed", after_chunks=2), *STREAMS).values():
        assert result["outcome"] == "error"
        assert "is no JSON" in result["error"]["message"]


def test_a_slow_first_token_is_latency(chaos):
    """The provider worked meanwhile: that is service time, and nothing waited."""
    for result in chaos.ask(SlowFirstToken(0.5), *STREAMS).values():
        assert result["outcome"] == "passed"
        assert result["latency_ms"] >= 500


def test_other_cases_go_on(chaos):
    """One that breaks costs the others nothing."""
    chaos.ask(StreamFault("disconnect", after_chunks=3), "stream", cases=5)
    outcomes = sorted(result["outcome"] for result in chaos.results)
    assert outcomes == ["error", *["passed"] * 4]


def test_a_vector_that_is_not_had_is_counted_like_an_answer(chaos):
    """A refusal costs nothing; of a time-out nobody knows, also where the next attempt succeeds."""
    result = chaos.ask(Fail(503, times=None), "embed")["embed"]
    assert (result["outcome"], result["calls"]) == ("error", [])
    result = chaos.ask(Delay(4.0), "embed")["embed"]
    assert result["outcome"] == "passed"
    assert [call["input_tokens"] is None for call in result["calls"]] == [True, False]
