"""What judges need from this machine: models opened once, the cache of replies, the secret of the fence."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.config import JudgeConfig
from harness.models.model import Model
from harness.models.opening import OPENAI, open_named, template_of
from judges.catalogue import NO_JUDGES, JudgeKind, Setting
from judges.guard import AS_WRITTEN, read_guard_prompts
from judges.reply_cache import ReplyCache
from tasks.downloads import user_cache
from tasks.paths import user_path

CACHE = "judge-replies.sqlite"
SECRET = "fence.key"
JUDGE_KEYS = ("BENCH_JUDGE_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key for judges, whose provider may be another than the model's."""


@dataclass(frozen=True)
class JudgeModels:
    """The models that judges ask, by the name they were opened under."""

    opened: dict[str, Model]
    setting: Setting

    @property
    def parallel(self) -> int:
        return sum(model.parallel for model in self.opened.values())

    def load(self) -> None:
        for model in self.opened.values():
            model.load()

    def usage(self) -> dict[str, Any]:
        """Calls, tokens and cost of each judge model in this process."""
        return {name: used for name, model in self.opened.items() if (used := model.usage())}

    def close(self) -> None:
        for model in self.opened.values():
            model.close()
        if self.setting.cache:
            self.setting.cache.close()


def judge_models(
    config: JudgeConfig,
    say: Callable[[str], None],
    plugged: Mapping[str, JudgeKind] = NO_JUDGES,
    names: Sequence[str] = (),
) -> JudgeModels:
    """Nothing is loaded yet; models are opened as judges ask for them, each once.

    `plugged` are judges that are not built in, `names` those that grade without being named in `config`.

    Raises:
        BadInput: by `setting.open_model`, a judge model that can not be used.
    """
    opened: dict[str, Model] = {}

    def open_model(name: str, template: str | None = None) -> Model:
        key = name if template is None or name.startswith(OPENAI) else f"{name}, prompt as written"
        if key not in opened:
            opened[key] = open_named(name, config, config.judge_base_url, JUDGE_KEYS, say, template)
        return opened[key]

    asks = any(":" in name for name in (*config.judge, *names))
    cache = ReplyCache(user_cache() / CACHE, say) if config.cache and asks else None
    setting = Setting(
        open_model,
        partial(open_model, template=AS_WRITTEN),
        template_of,
        config.protocol,
        config.judge_by,
        config.harm_form,
        read_guard_prompts(config.guard_prompt, user_path),
        fence_secret() if asks else b"",
        cache,
        plugged,
    )
    return JudgeModels(opened, setting)


def fence_secret() -> bytes:
    """Bytes that whoever wrote an answer can not know; kept, so that the same request is the same tomorrow.

    Where nothing can be kept they are drawn for this process alone, and replies are not found again in the cache.
    """
    path = user_cache() / SECRET
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = path.with_name(f".{SECRET}.{os.getpid()}")
        drawn.write_bytes(secrets.token_bytes(16))
        drawn.chmod(0o600)
        # Whoever is first decides, and every other process reads the same.
        try:
            os.link(drawn, path)
        except FileExistsError:
            pass
        finally:
            drawn.unlink()
        return path.read_bytes()
    except OSError:
        return secrets.token_bytes(16)
