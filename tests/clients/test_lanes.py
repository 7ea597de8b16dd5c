"""Limits of rate, concurrency and back-off, on a clock that the tests move."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest

from pytest_rag.rates import RateLimit
from pytest_rag.replay.aside import own_retries, set_aside
from pytest_rag.replay.faults import backoff, fault_of, retry_after
from pytest_rag.replay.lanes import Lane

FOREVER = float("inf")


def test_no_minute_holds_more_requests_than_the_limit():
    """Wherever a minute begins; and no call waits for longer than it must."""
    lane, chance = Lane(RateLimit(rpm=30)), random.Random(7)
    now, starts = 0.0, []
    for _ in range(300):
        now += chance.random() * 3
        starts.append(lane.book(10, now, FOREVER).at)
    assert starts == sorted(starts)
    for n, start in enumerate(starts[30:]):
        assert start >= starts[n] + 60
    assert starts[-1] < now + 60 * 10


def test_no_minute_holds_more_tokens_than_the_limit():
    """A call that is larger than the limit goes alone; what was really used is what counts."""
    lane = Lane(RateLimit(tpm=1000))
    first = lane.book(900, 0.0, FOREVER)
    assert first.at == 0
    assert lane.book(200, 1.0, FOREVER).at == 60
    assert lane.book(5000, 2.0, FOREVER).at == 120
    other = Lane(RateLimit(tpm=1000))
    other.book(900, 0.0, FOREVER).tokens = 300
    assert other.book(700, 1.0, FOREVER).at == 1


def test_a_call_that_cannot_wait_takes_no_place():
    """It is told so at once, and the next gets the place."""
    lane = Lane(RateLimit(rpm=1))
    lane.book(1, 0.0, FOREVER)
    assert lane.book(1, 1.0, 30.0) is None
    assert lane.book(1, 2.0, FOREVER).at == 60


def test_refusals_halve_what_runs_at_a_time_and_successes_let_it_creep_up():
    """Refusals of calls that were under way already say nothing new."""
    lane = Lane(RateLimit())
    places = [lane.enter() for _ in range(16)]
    assert all(place.done() for place in places)
    for _ in range(16):
        lane.refused(0.0, 1.0, None)
    assert lane.allowed == 8
    for _ in range(16):
        lane.leave()
    running = [lane.enter() for _ in range(10)]
    assert [place.done() for place in running] == [True] * 8 + [False] * 2
    for _ in range(8):
        lane.served()
    assert 8.9 < lane.allowed < 9.1
    lane.leave()
    assert running[8].done()
    lane.refused(2.0, 3.0, None)
    assert 4 <= lane.allowed <= 5


def test_everybody_waits_for_what_one_was_told():
    """After 429 with Retry-After nobody asks before that."""
    lane = Lane(RateLimit())
    lane.force()
    lane.refused(0.0, 10.0, 5.0)
    assert lane.book(1, 11.0, FOREVER).at == 15
    assert lane.book(1, 16.0, FOREVER).at == 16


def test_a_caller_that_went_away_holds_no_place():
    """Its place goes to the next."""
    lane = Lane(RateLimit(concurrency=1))
    first, second, third = lane.enter(), lane.enter(), lane.enter()
    assert first.done()
    assert second.cancel()
    lane.leave()
    assert third.done()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(900_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    """Seconds, milliseconds and dates; what makes no sense is as if it were not there."""
    assert retry_after(headers, 1_000_000.0) == seconds


def test_backing_off_doubles_and_spreads():
    """From half a second to eight; chance takes away up to half."""
    assert [backoff(n, 0.0) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert backoff(3, 1.0) == 1.0


class ToldError(Exception):
    def __init__(self, status: int) -> None:
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "again", "paid"),
    [
        *((ToldError(status), True, False) for status in (429, 500, 502, 503, 504, 529)),
        *((ToldError(status), False, False) for status in (400, 401, 403, 404, 422)),
        (ConnectionRefusedError(), True, False),
        (ConnectionResetError(), True, True),
        (TimeoutError(), True, True),
        (ValueError(), False, True),
    ],
)
def test_only_what_may_succeed_is_tried_again(error, again, paid):
    """And what never reached a model has cost nothing."""
    fault = fault_of(error)
    assert (fault.again, fault.paid) == (again, paid)


class Client:
    max_retries = 4


class Model:
    def __init__(self) -> None:
        self.max_retries = 3
        self._client = Client()
        self._aclient = None


def test_a_clients_own_retries_are_back_when_the_call_is_over():
    """Also those of clients made meanwhile, and with several calls at a time."""
    model = Model()
    with set_aside(model):
        assert (model.max_retries, model._client.max_retries) == (0, 0)
        with set_aside(model):
            assert own_retries(model) == 3
            model._aclient = Client()
            model._aclient.max_retries = 0
        assert model.max_retries == 0
    assert model.max_retries == 3
    assert model._client.max_retries == 4
    assert model._aclient.max_retries == 3
