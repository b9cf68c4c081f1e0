"""The openai: back end against a mock server: retries, what is final, load, reasoning, keys, prices."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from mock_server import HANG, RESET, Behaviour, MockServer, Reply, completion, failure, says

from harness.models import backoff
from harness.models.api import ApiModel
from harness.models.backoff import Gate, Patience, retry_after
from harness.models.prices import Price, read_prices
from harness.models.reply import split_reasoning
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

KEY = "topsecret-0123456789abcdef"
GREEDY = Settings(max_new_tokens=64)


@pytest.fixture(scope="module")
def running() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def server(running: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """A running server without a memory; waits between tries are short."""
    monkeypatch.setattr(backoff, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running.behave(None)
    running.requests.clear()
    running.most_in_flight, running.latency_s = 0, 0.0
    return running


def answers(model: ApiModel, count: int = 1, settings: Settings = GREEDY, prompt: str = "Hello") -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        asked: list[Message] = [{"role": "user", "content": prompt}]
        return await asyncio.gather(*(model.complete(asked, settings) for _ in range(count)))

    return asyncio.run(all_at_once())


def first(*replies: Reply | str, then: Reply | str = "Paris.") -> Behaviour:
    """These replies, one a call, and `then` from there on."""
    return lambda _, call: replies[call - 1] if call <= len(replies) else then


def test_an_answer_is_what_the_server_said_and_only_sampling_sends_a_seed(server: MockServer) -> None:
    model = ApiModel("gpt", server.url)
    assert answers(model) == [Completion("Paris.", "stop", prompt_tokens=10, completion_tokens=5)]
    assert answers(model, settings=Settings(8, temperature=0.7, seed=3))[0].text == "Paris."
    greedy, sampled = (request.json for request in server.requests)
    messages = [{"role": "user", "content": "Hello"}]
    assert greedy == {"model": "gpt", "messages": messages, "max_tokens": 64, "temperature": 0}
    assert sampled == {"model": "gpt", "messages": messages, "max_tokens": 8, "temperature": 0.7, "seed": 3}
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert model.describe()["served_models"] == ["mock-1"]
    assert model.describe()["system_fingerprints"] == ["fp_mock"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (failure(429), "429"),
        (failure(429, retry_after="0.01"), "429"),
        (failure(503), "503"),
        (failure(500), "500"),
        (RESET, "connection"),
        (Reply(fault="cut"), "connection"),
        (HANG, "timeout"),
        (Reply(says("Paris.").body[:-30]), "unreadable reply"),
        (Reply(b"<html>"), "unreadable reply"),
        (Reply(b'{"choices": []}'), "no reply in the JSON"),
        (Reply(b'{"error": {"message": "overloaded"}}'), "no reply in the JSON"),
        (Reply(b"[1]"), "no reply in the JSON"),
        (says(None), "empty"),
        (says(" "), "empty"),
    ],
)
def test_a_passing_trouble_is_survived_and_counted_by_its_reason(
    server: MockServer, trouble: Reply, reason: str
) -> None:
    server.behave(first(trouble))
    model = ApiModel("gpt", server.url, timeout_s=0.3)
    assert answers(model)[0].text == "Paris."
    assert model.usage()["retries"] == {reason: 1}
    assert model.usage()["tries"] == 2


def test_a_model_that_says_nothing_is_asked_three_times_and_then_believed(server: MockServer) -> None:
    server.behave(first(then=says("")))
    assert answers(ApiModel("gpt", server.url)) == [Completion("", "stop", prompt_tokens=10, completion_tokens=5)]
    assert len(server.requests) == 3


def test_nobody_asks_before_the_end_of_a_retry_after(server: MockServer) -> None:
    server.behave(lambda _, call: failure(429, retry_after="0.3") if call <= 4 else "Paris.")
    assert {said.text for said in answers(ApiModel("gpt", server.url, ceiling=4), count=8)} == {"Paris."}
    refused, later = server.requests[:4], server.requests[4:]
    assert len(later) == 8
    assert min(request.began for request in later) >= max(request.began for request in refused) + 0.29


def test_retry_after_is_read_in_seconds_milliseconds_and_dates() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    told = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert told is not None
    assert 55 < told <= 60
    for useless in ("0", "-5", "soon", "nan", "1e999", formatdate(0, usegmt=True)):
        assert retry_after({"retry-after": useless}) is None


def test_a_server_that_goes_away_and_comes_back_loses_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_WAIT_S", 0.02)
    with MockServer(latency_s=0.02) as server:

        def restart() -> None:
            time.sleep(0.1)
            server.stop()
            time.sleep(0.4)
            server.start()

        away = threading.Thread(target=restart)
        away.start()
        model = ApiModel("gpt", server.url, ceiling=4)
        assert {said.text for said in answers(model, count=60)} == {"Paris."}
        away.join()
        assert model.usage()["retries"]["connection"] > 0


def test_a_server_gone_for_ever_ends_in_errors_and_only_the_first_requests_wait_for_it(server: MockServer) -> None:
    with MockServer() as gone:
        url = gone.url
    model = ApiModel("gpt", url, ceiling=2, patience_s=0.3)
    said = answers(model)[0]
    assert (said.text, said.finish) == ("", "error")
    assert said.error
    assert said.error.startswith(f"no connection to {url}")
    began = time.monotonic()
    assert [said.finish for said in answers(model, count=20)] == ["error"] * 20
    assert time.monotonic() - began < 0.25
    assert model.usage()["failed"] == 21


def test_patience_bounds_the_waits_and_tries_are_bounded_where_the_server_names_no_time() -> None:
    told = Patience(patience_s=60)
    waits = [wait for _ in range(20) if (wait := told.next_wait(0.0, told_s=25.0)) is not None]
    assert sum(waits) == pytest.approx(60)
    assert waits[0] >= 25
    unannounced = Patience(patience_s=1e9)
    assert sum(unannounced.next_wait(0.0) is not None for _ in range(20)) == backoff.TRIES - 1


def test_parameters_that_the_model_does_not_take_are_dropped_once_and_recorded(server: MockServer) -> None:
    def reasoning_model(request: dict[str, Any], call: int) -> Reply | str:
        if "max_tokens" in request:
            words = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return failure(400, words, param="max_tokens", code="unsupported_parameter")
        if "temperature" in request:
            words = "'temperature' does not support 0.7 with this model."
            return failure(400, words, param="temperature", code="unsupported_value")
        if "seed" in request:
            extra = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
            return Reply(json.dumps({"detail": extra}).encode(), 422)
        return "Paris."

    server.behave(reasoning_model)
    said: list[str] = []
    model = ApiModel("gpt", server.url, say=said.append)
    assert {a.text for a in answers(model, count=8, settings=Settings(9, 0.7, 1))} == {"Paris."}
    assert answers(model)[0].text == "Paris."
    assert server.requests[-1].json.keys() == {"model", "messages", "max_completion_tokens"}
    assert len(said) == 1
    assert model.usage()["temperature"] == model.describe()["parameters"]["temperature"] == "the server's default"
    assert model.usage()["failed"] == 0


def test_a_limit_that_is_merely_too_large_is_no_unsupported_parameter(server: MockServer) -> None:
    words = "'max_tokens' or 'max_completion_tokens' is too large: 64. The maximum context length is 32 tokens."
    server.behave(first(then=failure(400, words)))
    assert [(a.finish, words in (a.error or "")) for a in answers(ApiModel("gpt", server.url))] == [("missing", True)]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "fields", "finish"),
    [
        (400, {"code": "context_length_exceeded"}, "missing"),
        (413, {}, "missing"),
        (422, {}, "missing"),
        (400, {"code": "content_filter"}, "filtered"),
    ],
)
def test_a_prompt_that_can_not_be_answered_is_asked_once(
    server: MockServer, status: int, fields: dict[str, str], finish: str
) -> None:
    server.behave(first(then=failure(status, "no", **fields)))
    said = answers(ApiModel("gpt", server.url))[0]
    assert (said.text, said.finish, len(server.requests)) == ("", finish, 1)
    assert said.error == f"{server.url} answers {status}: no"


@pytest.mark.parametrize(
    ("status", "fields", "remedy"),
    [
        (401, {}, "check the key in OPENAI_API_KEY"),
        (403, {}, "check the key in OPENAI_API_KEY"),
        (400, {"message": "API key not valid."}, "check the key in OPENAI_API_KEY"),
        (400, {"code": "model_not_found"}, "check the model's name, gpt, and the base URL"),
        (404, {}, "check the model's name, gpt, and the base URL"),
        (429, {"code": "insufficient_quota"}, "nothing left to spend"),
    ],
)
def test_what_no_request_can_survive_stops_the_run_and_shows_no_key(
    server: MockServer, status: int, fields: dict[str, str], remedy: str
) -> None:
    words = f"Bearer {KEY} is wrong, or was it {KEY}?\x1b[31m sk-abc123 pk-a****z"
    server.behave(first(then=failure(status, **{"message": words, **fields})))
    model = ApiModel("gpt", server.url)
    with pytest.raises(RunStopped, match=remedy) as stopped:
        answers(model)
    assert len(server.requests) == 1
    for secret in (KEY, "abc123", "a****z", "\x1b"):
        assert secret not in str(stopped.value)
    assert KEY not in f"{model!r} {model.describe()} {model.usage()} {model.identity()}"


def test_a_server_that_repeats_the_key_in_its_answer_or_an_error_leaves_it_in_no_record(server: MockServer) -> None:
    server.behave(first(KEY, failure(400, KEY)))
    model = ApiModel("gpt", server.url)
    assert answers(model)[0].text == "[key]"
    assert KEY not in (answers(model)[0].error or KEY)


@pytest.mark.parametrize(
    ("reply", "text", "finish", "reasoning"),
    [
        (says("Yes.", reasoning_content="Well …"), "Yes.", "stop", "Well …"),
        (says("Yes.", reasoning="Well …"), "Yes.", "stop", "Well …"),
        (says("<think>\nWell …\n</think>\n\nYes."), "Yes.", "stop", "Well …"),
        (says("<think>Well …", finish="length"), "", "length", "Well …"),
        (says(None, finish="length"), "", "length", None),
        (says("Half of", finish="content_filter"), "Half of", "filtered", None),
        (says(None, refusal="I can not."), "I can not.", "stop", None),
        (says(None, finish="tool_calls", tool_calls=[]), "", "unknown", None),
        (says("Yes.", finish=None), "Yes.", "unknown", None),
    ],
)
def test_reasoning_is_kept_apart_and_every_ending_has_its_name(
    server: MockServer, reply: Reply, text: str, finish: str, reasoning: str | None
) -> None:
    server.behave(first(then=reply))
    said = answers(ApiModel("gpt", server.url))[0]
    assert (said.text, said.finish, said.reasoning) == (text, finish, reasoning)


def test_think_tags_in_the_middle_of_an_answer_are_text() -> None:
    for text in ("Write <think> and </think> around it.", "Plain.", "a <think> b"):
        assert split_reasoning(text) == (text, None)
    assert split_reasoning("Well …\n</think>\nYes. </think>") == ("Yes. </think>", "Well …")


def test_lone_surrogates_are_sent_as_replacement_characters(server: MockServer) -> None:
    assert answers(ApiModel("gpt", server.url), prompt="é\ud83d")[0].text == "Paris."
    assert server.requests[0].json["messages"][0]["content"] == "é\ufffd"


def test_no_more_requests_are_in_flight_than_the_ceiling(server: MockServer) -> None:
    server.latency_s = 0.02
    model = ApiModel("gpt", server.url, ceiling=5)
    answers(model, count=20)
    assert server.most_in_flight == 5
    assert 0.08 <= model.busy_s < 2


def test_a_burst_of_failures_halves_the_load_once_and_successes_restore_it() -> None:
    async def scenario() -> None:
        gate = Gate(16)
        burst = [await gate.enter() for _ in range(16)]
        for began in burst:
            gate.failed(began)
            gate.leave()
        assert gate.limit == 8
        gate.failed(await gate.enter())
        gate.leave()
        assert gate.limit == 4
        for _ in range(200):
            gate.replied()
        assert gate.limit == 16

    asyncio.run(scenario())


def test_turns_come_in_order_and_a_cancelled_request_leaves_no_gap() -> None:
    async def scenario() -> None:
        gate, came = Gate(1), []

        async def request(name: int) -> None:
            await gate.enter()
            came.append(name)
            await asyncio.sleep(0)
            gate.leave()

        await gate.enter()
        waiting = [asyncio.create_task(request(name)) for name in range(4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        gate.leave()  # hands the turn to 0, which is cancelled before it can take it
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert came == [2, 3]

    asyncio.run(scenario())


def test_keys_come_from_the_environment_and_the_official_api_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="set JUDGE_KEY or OPENAI_API_KEY"):
        ApiModel("gpt", key_variables=("JUDGE_KEY", "OPENAI_API_KEY"))
    with MockServer() as own:
        monkeypatch.setenv("OPENAI_BASE_URL", own.url)
        assert answers(ApiModel("gpt"))[0].text == "Paris."
        monkeypatch.setenv("OPENAI_API_KEY", "second")
        monkeypatch.setenv("JUDGE_KEY", "first")
        answers(ApiModel("gpt", key_variables=("JUDGE_KEY", "OPENAI_API_KEY")))
        assert [request.headers["Authorization"] for request in own.requests] == ["Bearer none", "Bearer first"]


@pytest.mark.parametrize(
    "url", ["http://me:pass@host/v1", "ftp://host/v1", "host:8000", "http://", "http://h:99999/v1", "http://h/?k=pass"]
)
def test_an_unusable_base_url_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(BadInput, match="base URL must") as refused:
        ApiModel("gpt", url)
    assert "pass@" not in str(refused.value)


def test_the_connections_are_closed_without_a_word(server: MockServer) -> None:
    code = f"""
import asyncio
from harness.models.api import ApiModel
from tasks.conversation import Settings
model = ApiModel("gpt", {server.url!r})
asyncio.run(model.complete([{{"role": "user", "content": "Hello"}}], Settings(8)))
model.close()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cost_is_known_only_where_price_and_tokens_are(server: MockServer) -> None:
    prices = {"gpt": Price(input=2.0, output=10.0)}
    model = ApiModel("gpt", server.url, prices=prices)
    answers(model, count=4)
    assert model.usage()["cost_usd"] == pytest.approx(4 * (10 * 2.0 + 5 * 10.0) / 1e6)
    unpriced = ApiModel("other", server.url, prices=prices)
    answers(unpriced)
    assert unpriced.usage()["cost_usd"] is None
    told = {key: value for key, value in completion("Paris.").items() if key != "usage"}
    server.behave(first(Reply(json.dumps(told).encode())))
    said = answers(model)[0]
    assert (said.prompt_tokens, said.completion_tokens) == (None, None)
    assert (model.usage()["without_usage"], model.usage()["cost_usd"]) == (1, None)


def test_prices_are_read_from_a_file_and_mistakes_in_it_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["gpt-4.1"]\ninput = 2\noutput = 8.5\n')
    assert read_prices(file) == {"gpt-4.1": Price(2.0, 8.5)}
    for text, wrong in {
        "[gpt-4.1]\ninput = 2\noutput = 8\n": "needs quotes",
        '["m"]\ninput = 2\n': "output of m must be",
        '["m"]\ninput = -2\noutput = 8\n': "input of m must be",
        '["m"]\ninput = 2\noutput = inf\n': "output of m must be",
        '["m"]\ninput = 2\noutput = 8\ncached = 1\n': "'cached' of m is no price",
        "m = 2\n": "stands outside a table",
        "[": "can not read the prices",
    }.items():
        file.write_text(text)
        with pytest.raises(BadInput, match=wrong) as refused:
            read_prices(file)
        assert str(file) in str(refused.value)
    with pytest.raises(BadInput, match="can not read the prices"):
        read_prices(tmp_path / "none.toml")
