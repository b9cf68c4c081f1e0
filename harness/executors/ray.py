"""`--executor ray`: a model whose requests are answered by workers of a Ray cluster, each of which holds one back end.

The engine, the judges and the store know nothing of it: to them it is a model with many places. A request goes to the
worker with the least to do, and its reply comes back by itself; this process alone writes. Every request carries its
own seed, so it does not matter which worker it meets.

A worker that dies takes no answer along: its requests go to others, and another is started in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from harness.config import RunConfig
from harness.executors.cluster import connect
from harness.executors.worker import Opened, Worker, versions
from harness.models.hf import first_line
from harness.models.model import Model
from judges.judgment import ScoringModel
from tasks.conversation import Completion, Message, Settings
from tasks.errors import BadInput, BenchError, RunStopped
from tasks.paths import user_path

TRIES = 3
"""Workers that one request may meet, where those before died of something."""
RESTARTS = 3
"""How often the place of a worker is filled again."""
WAIT_S = 30.0
"""After how long a person is told that workers have not come up yet."""


@dataclass(eq=False)
class Running:
    """A worker that answers: its handle, what is known of it, and how busy it is."""

    actor: Any
    opened: Opened
    in_flight: int = 0
    busy_s: float = 0.0


@dataclass(eq=False)
class Place:
    """Where a worker belongs; `actor` is who is there or coming up, `worker` who answers (None: nobody yet)."""

    number: int
    actor: Any
    worker: Running | None = None
    restarts: int = 0
    reviving: asyncio.Task[None] | None = None

    @property
    def is_coming(self) -> bool:
        # A task whose event loop has ended is done as well.
        return self.reviving is not None and not self.reviving.done()


class RayModel:
    """Answers with the workers of a Ray cluster; see `Model` for the interface."""

    def __init__(self, model: Model, config: RunConfig, say: Callable[[str], None]) -> None:
        """`model` is the same as workers open by `config`: it stands for their identity, and is never loaded.

        Raises:
            BadInput: Ray is not installed.
        """
        if find_spec("ray") is None:
            raise BadInput("--executor ray needs Ray: pip install 'bench[ray]'")
        self.name = model.name
        self._model = model
        self._config = _for_workers(config)
        self._say = say
        self._places: list[Place] = []
        self._owns_connection = False
        self._resources: dict[str, float] = {}
        self._busy_before = 0.0
        self._lost = 0
        self._sent_again = 0

    @property
    def busy_s(self) -> float:
        """Seconds computed by all workers together: more than have passed, where they are many."""
        return self._busy_before + sum(place.worker.busy_s for place in self._places if place.worker)

    @property
    def parallel(self) -> int:
        found = [place.worker.opened.parallel for place in self._places if place.worker]
        return sum(found) or self._model.parallel * (self._config.workers or 1)

    def identity(self) -> dict[str, Any]:
        return self._model.identity()

    def describe(self) -> dict[str, Any]:
        opened = [place.worker.opened for place in self._places if place.worker]
        if not opened:
            return self._model.describe()
        return {
            **opened[0].description,
            "source": self._model.describe().get("source"),
            "executor": "ray",
            "workers": len(self._places),
            "worker_resources": self._resources,
            "devices": sorted({str(worker.description.get("device")) for worker in opened}),
        }

    def load(self) -> None:
        """Reach the cluster and bring all workers up.

        Raises:
            BadInput: the cluster has not what the workers need, or one of them would answer otherwise than others.
            RunStopped: the cluster can not be reached.
        """
        if self._places:
            return
        self._owns_connection = connect(self._config.ray_address)
        try:
            count = self._plan_workers()
            self._places = [Place(number, self._start_actor()) for number in range(1, count + 1)]
            # Versions first: what a worker of another version would make of a configuration, nobody knows.
            for host, found in self._all("coming up", [place.actor.versions.remote() for place in self._places]):
                _refuse_other_versions(host, found)
            opening = [place.actor.open.remote(self._config, self._threads) for place in self._places]
            for place, opened in zip(self._places, self._all("loading the model", opening), strict=True):
                self._refuse_other_model(opened)
                place.worker = Running(place.actor, opened)
        except BaseException:
            self.close()
            raise

    async def complete(self, messages: Sequence[Message], settings: Settings) -> Completion:
        try:
            said: Completion = await self._asked("complete", list(messages), settings)
        except _NobodyCan as failure:
            return Completion("", "error", error=str(failure))
        return said

    async def _asked(self, method: str, *what: Any) -> Any:
        """What a worker replies; one that dies over it is replaced by others.

        Raises:
            _NobodyCan: several workers failed at it.
            RunStopped: none is left.
        """
        from ray.exceptions import RayError

        self.load()
        reason = ""
        for attempt in range(TRIES):
            self._sent_again += attempt > 0
            place, worker = await self._least_busy()
            worker.in_flight += 1
            try:
                said, worker.busy_s = await getattr(worker.actor, method).remote(*what)
            except RayError as error:
                reason = _says(error)
            else:
                return said
            finally:
                worker.in_flight -= 1
            self._give_up(place, worker, reason)
        raise _NobodyCan(f"{TRIES} workers failed at it, the last: {reason}")

    def usage(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Let the workers go, and the cluster, if it is ours; a later request brings them up again."""
        import ray

        self._busy_before = self.busy_s
        for place in self._places:
            if ray.is_initialized():
                ray.kill(place.actor)
        self._places = []
        if self._owns_connection:
            ray.shutdown()
            self._owns_connection = False
        if self._lost:
            self._say(f"{self._lost} workers were lost, and {self._sent_again} requests sent to others instead")
            self._lost = self._sent_again = 0

    def _plan_workers(self) -> int:
        """How many workers there will be; sets what each is given.

        Raises:
            BadInput: the cluster has not so much.
        """
        import ray

        held = ray.cluster_resources()
        cpus, gpus = held.get("CPU", 0.0), held.get("GPU", 0.0)
        asked = self._config.worker_resources
        each_gpus = asked.get("gpus", 1.0 if gpus else 0.0)
        nodes = sum(node["Alive"] for node in ray.nodes())
        count = self._config.workers or (int(gpus / each_gpus) if each_gpus else nodes) or 1
        each_cpus = asked.get("cpus", 1.0 if each_gpus else float(max(1, int(cpus / count))))
        for name, each, there in (("cpus", each_cpus, cpus), ("gpus", each_gpus, gpus)):
            if each * count > there:
                raise BadInput(
                    f"{count} workers with {name}={each:g} each need {each * count:g}, and the cluster has {there:g}: "
                    "lower --workers or --worker-resources"
                )
        self._resources = {"cpus": each_cpus, "gpus": each_gpus}
        return count

    @property
    def _threads(self) -> int | None:
        return None if self._resources["gpus"] else max(1, int(self._resources["cpus"]))

    def _start_actor(self) -> Any:
        import ray

        return ray.remote(Worker).options(
            num_cpus=self._resources["cpus"], num_gpus=self._resources["gpus"], scheduling_strategy="SPREAD",
            # Requests wait in the back end's own line, which sees how they fit together.
            max_concurrency=100_000, max_restarts=0, max_task_retries=0,
        ).remote()  # fmt: skip

    def _all(self, what: str, refs: list[Any]) -> list[Any]:
        """What all workers reply, in order; says now and then how many have not."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        pending = refs
        while pending:
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=WAIT_S)
            if pending:
                self._say(f"{len(pending)} of {len(refs)} workers are still {what}")
        try:
            replies: list[Any] = ray.get(refs)
        except RayTaskError as error:
            if isinstance(error.cause, BenchError):
                raise type(error.cause)(f"a worker says: {error.cause}") from None
            raise BadInput(f"a worker can not be used: {_says(error)}") from None
        except RayError as error:
            raise BadInput(f"a worker did not come up: {_says(error)}") from None
        return replies

    def _refuse_other_model(self, opened: Opened) -> None:
        if opened.identity != self.identity():
            raise BadInput(
                f"{opened.host} finds another checkpoint under {self._config.model} than this machine: every machine "
                "must see the same files, on a shared disk or as copies"
            )
        dtype = opened.description.get("dtype")
        for other in (place.worker for place in self._places if place.worker):
            if (theirs := other.opened.description.get("dtype")) != dtype:
                raise BadInput(
                    f"{opened.host} would answer in {dtype} and {other.opened.host} in {theirs}: use machines of a "
                    "kind, or --worker-resources that only one kind has"
                )

    async def _least_busy(self) -> tuple[Place, Running]:
        """The worker with the fewest requests; waits where all are coming up again.

        Raises:
            RunStopped: none is left and none may be started any more.
        """
        while True:
            for place in self._places:
                if not place.worker and not place.is_coming and place.restarts < RESTARTS:
                    place.restarts += 1
                    place.reviving = asyncio.create_task(self._revive(place))
            up = [(place, place.worker) for place in self._places if place.worker]
            if up:
                return min(up, key=lambda pair: pair[1].in_flight)
            coming = [place.reviving for place in self._places if place.reviving and place.is_coming]
            if not coming:
                raise RunStopped(
                    f"no worker is left after {self._lost} were lost: what is stored is kept, and the same command "
                    "resumes the run"
                )
            await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)

    def _give_up(self, place: Place, worker: Running, reason: str) -> None:
        """A worker failed: nothing more is sent to it. All its requests come here, and the first one counts."""
        import ray

        if place.worker is not worker:
            return
        place.worker = None
        self._busy_before += worker.busy_s
        self._lost += 1
        self._say(f"worker {place.number} on {worker.opened.host} is lost ({reason}): its requests go to others")
        # It may live and only be out of reach, or out of memory.
        ray.kill(worker.actor)

    async def _revive(self, place: Place) -> None:
        """Start a worker anew in its place; where that fails, the place stays empty until it is tried again."""
        import ray
        from ray.exceptions import RayError

        ray.kill(place.actor)
        place.actor = self._start_actor()
        try:
            host, found = await place.actor.versions.remote()
            _refuse_other_versions(host, found)
            opened: Opened = await place.actor.open.remote(self._config, self._threads)
            self._refuse_other_model(opened)
        except (RayError, BenchError) as error:
            self._say(f"worker {place.number} could not be started again: {_says(error)}")
            return
        except asyncio.CancelledError:
            # The run ended meanwhile, which says nothing about the worker.
            place.restarts -= 1
            raise
        place.worker = Running(place.actor, opened)


class RayScoringModel(RayModel):
    """The same of a model that also tells how probable it finds a text; see `ScoringModel`."""

    async def continuation_logprobs(
        self, messages: Sequence[Message], prefix: str, continuations: Sequence[str]
    ) -> list[float]:
        try:
            found = await self._asked("continuation_logprobs", list(messages), prefix, list(continuations))
        except _NobodyCan as failure:
            raise RunStopped(f"{failure}; the same command tries it again") from None
        if isinstance(found, str):
            raise ValueError(found)  # noqa: TRY004 - it is why the model can not be asked
        log_probs: list[float] = found
        return log_probs


def ray_model(model: Model, config: RunConfig, say: Callable[[str], None]) -> RayModel:
    """`model`, answered for by workers; raises as `RayModel`."""
    return (RayScoringModel if isinstance(model, ScoringModel) else RayModel)(model, config, say)


class _NobodyCan(Exception):
    """Several workers failed at one request."""


def _for_workers(config: RunConfig) -> RunConfig:
    """The configuration as workers need it: they may start in another folder."""

    def absolute(path: str | None) -> str | None:
        return str(user_path(path).resolve()) if path and user_path(path).exists() else path

    model = absolute(config.model) or config.model
    return replace(config, model=model, chat_template=absolute(config.chat_template), executor="local")


def _refuse_other_versions(host: str, found: Any) -> None:
    here = versions()
    if differing := [name for name in here if here[name] != found.get(name)]:
        listed = ", ".join(
            f"{name} {found.get(name) or 'missing'} (here {here[name] or 'missing'})" for name in differing
        )
        raise BadInput(f"the worker on {host} has {listed}: install the same versions on every machine")


def _says(error: BaseException) -> str:
    """What an error comes to, in words: those of Ray begin with tracebacks and end in advice."""
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

    if isinstance(error, RayTaskError) and isinstance(error.cause, BenchError):
        return first_line(error.cause)
    if isinstance(error, ActorUnavailableError):
        return "it is out of reach"
    if isinstance(error, ActorDiedError) and "its worker process has died" in str(error):
        return "its process died"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
