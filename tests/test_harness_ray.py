"""--executor ray: the records of a run are those of one process, and a worker that is killed takes none along."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.config import RunConfig, load_config
from harness.executors import ray as executor
from harness.executors.cluster import OBJECT_STORE_BYTES
from harness.executors.ray import RayModel
from harness.models.opening import open_here, open_model
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, RunStopped

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (bench[ray])")
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster on this machine that the tests share: starting one takes longer than any of them."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
    )  # fmt: skip
    yield
    ray.shutdown()


def asked(checkpoint: Path, out: Path) -> list[object]:
    # Greedy and sampled, one turn and two.
    return [
        "run", "--model", checkpoint, "--tasks", "mini_mt,asr", "--limit", 8, "--samples", 2, "--max-new-tokens", 24,
        "--out", out, "--quiet",
    ]  # fmt: skip


def answers(run: Path) -> list[dict[str, Any]]:
    """What a run stored, in the order of its keys; what takes time, and rounding of sums, may differ."""
    lines = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    left_out = ("latency_s", "token_entropy", "token_stats")
    records = [{key: value for key, value in line.items() if key not in left_out} for line in lines]
    return sorted(records, key=lambda record: (record["task"], record["item"], record["sample"], record["turn"]))


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_records_are_those_of_one_process_though_a_worker_is_killed_on_the_way(
    checkpoint: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say(*asked(checkpoint, tmp_path / "one"))[0] == 0
    code, _, err = say(*asked(checkpoint, tmp_path / "many"), "--executor", "ray", "--workers", 2)
    assert code == 0, err
    one = answers(tmp_path / "one")
    assert len(one) == 2 * (8 * 2 + 8)
    assert answers(tmp_path / "many") == one
    manifest = json.loads((tmp_path / "many" / "run.json").read_text())
    assert [manifest["model"][key] for key in ("executor", "workers", "threads")] == ["ray", 2, 1]
    assert manifest["identity"] == json.loads((tmp_path / "one" / "run.json").read_text())["identity"]

    plain, replies = RayModel.complete, []

    async def kills(model: RayModel, messages: Sequence[Message], settings: Settings) -> Completion:
        said = await plain(model, messages, settings)
        replies.append(said)
        if len(replies) == 5 and (worker := model._places[0].worker):
            os.kill(worker.opened.pid, signal.SIGKILL)
        return said

    monkeypatch.setattr(RayModel, "complete", kills)
    loud = [flag for flag in asked(checkpoint, tmp_path / "killed") if flag != "--quiet"]
    code, out, err = say(*loud, "--executor", "ray", "--workers", 2, "--json")
    assert code == 0, err
    assert "is lost (its process died)" in err
    assert json.loads(out)["status"] == "complete"
    assert answers(tmp_path / "killed") == one


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_training_generates_and_prefers_by_workers_as_in_one_process(
    checkpoint: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, methods = RayModel._asked, []

    async def noted(model: RayModel, method: str, *what: object) -> Any:
        methods.append(method)
        return await plain(model, method, *what)

    monkeypatch.setattr(RayModel, "_asked", noted)
    flags = ["--model", checkpoint, "--limit", 3, "--set", "critiques.few_shot=false"]
    flags += ["--set", "critiques.max_new_tokens=12", "--set", "preferences.max_new_tokens=12"]
    made: list[list[list[dict[str, Any]]]] = []
    for executor_flags in ([], ["--executor", "ray", "--workers", 2]):
        folder = tmp_path / f"training-{len(made)}"
        code, _, err = say("train", "critiques", "--out", folder, *flags, *executor_flags)
        # A random model revises to nothing fit for training, which is said after all was generated.
        assert "no revision" in err or code == 0, err
        # What SFT would make; where its answers come from is kept in the folder's recipe.
        (folder / "sft-cai").symlink_to(checkpoint)
        code, _, err = say("train", "preferences", "--out", folder)
        rows = [
            [json.loads(line) for line in (folder / "data" / name).read_text().splitlines()]
            for name in ("critiques.jsonl", "samples.jsonl", "feedback.jsonl")
        ]
        made.append([sorted(lines, key=lambda row: str(row["id"])) for lines in rows])
    (critiques, samples, feedback), others = made
    assert (len(critiques), len(samples)) == (3, 3)
    assert feedback
    assert set(methods) == {"complete", "continuation_logprobs"}
    assert others[:2] == [critiques, samples]
    for row, other in zip(feedback, others[2], strict=True):
        assert [one["p"] for one in other["principles"]] == pytest.approx(
            [one["p"] for one in row["principles"]], abs=1e-4
        )


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_requests_of_a_lost_worker_go_to_others_and_its_place_is_filled_again(checkpoint: Path) -> None:
    import asyncio

    said: list[str] = []
    config = RunConfig(model=str(checkpoint), executor="ray", workers=2)
    model = open_model(config, said.append)
    assert isinstance(model, RayModel)
    model.load()

    async def ask(count: int, tokens: int, *, kill: bool = False) -> list[Completion]:
        asking = [
            asyncio.create_task(model.complete([{"role": "user", "content": f"Hi {n}"}], Settings(tokens)))
            for n in range(count)
        ]
        await asyncio.sleep(0.05)
        if kill and (worker := model._places[0].worker):
            os.kill(worker.opened.pid, signal.SIGKILL)
        replies = await asyncio.gather(*asking)
        coming = [place.reviving for place in model._places if place.reviving]
        if coming:
            await asyncio.wait(coming)
        return replies

    replies = asyncio.run(ask(40, 300, kill=True))
    assert {reply.error for reply in replies} == {None}
    assert all(place.worker for place in model._places)
    assert model._places[0].restarts == 1
    assert "is lost (its process died)" in said[0]

    # All workers dead, and none may be started any more.
    for place in model._places:
        place.restarts = executor.RESTARTS
        assert place.worker
        os.kill(place.worker.opened.pid, signal.SIGKILL)
    with pytest.raises(RunStopped, match="no worker is left after 3 were lost"):
        asyncio.run(ask(4, 20))
    model.close()
    assert "workers were lost" in said[-1]


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_workers_that_do_not_fit_or_do_not_agree_are_refused_in_one_line(
    checkpoint: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = say(*asked(checkpoint, tmp_path / "run"), "--executor", "ray", "--workers", 5)
    assert (code, err.count("\n")) == (2, 1)
    assert "5 workers with cpus=1 each need 5, and the cluster has 2: lower --workers" in err
    monkeypatch.setattr(executor, "versions", lambda: {"bench": "0.1.0", "transformers": "4.0.0"})
    code, _, err = say(*asked(checkpoint, tmp_path / "run"), "--executor", "ray", "--workers", 1)
    assert (code, err.count("\n")) == (2, 1)
    assert "(here 4.0.0): install the same versions on every machine" in err
    assert not (tmp_path / "run").exists()


@needs_ray
def test_an_address_where_nobody_listens_is_said_in_one_line(checkpoint: Path, tmp_path: Path, say: Say) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        code, _, err = say(*asked(checkpoint, tmp_path / "run"), "--executor", "ray", "--ray-address", address)
    assert (code, err.count("\n")) == (4, 1)
    assert f"no Ray cluster at {address}" in err
    code, _, err = say(*asked(checkpoint, tmp_path / "run"), "--executor", "ray", "--ray-address", "nowhere")
    assert code == 2
    assert "takes HOST:PORT" in err


def test_without_ray_it_says_how_to_get_it(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"pip install 'bench\[ray\]'"):
        open_model(RunConfig(model=str(checkpoint), executor="ray"), print)


@needs_ray
def test_a_run_may_go_on_with_the_other_executor(checkpoint: Path) -> None:
    config = RunConfig(model=str(checkpoint), executor="ray")
    assert open_model(config, print).identity() == open_here(config, print).identity()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"workers": 2}, "--workers goes with --executor ray"),
        ({"ray_address": "auto"}, "--ray-address goes with --executor ray"),
        ({"executor": "slurm"}, "--executor is one of local, ray, not 'slurm'"),
        ({"executor": "ray", "workers": 0}, "--workers takes a whole number from 1"),
        (
            {"executor": "ray", "worker_resources": "cpu=2"},
            "--worker-resources takes cpus and gpus",
        ),
        ({"executor": "ray", "model": "openai:gpt-4o"}, "--executor ray has no effect on openai:gpt-4o"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(checkpoint: Path, flags: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        open_model(load_config(None, {"model": str(checkpoint), **flags}), print)
