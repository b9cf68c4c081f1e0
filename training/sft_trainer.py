"""TRL's SFTTrainer as it is used here. A module of its own, since TRL takes seconds to import."""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer


class QuietSFTTrainer(SFTTrainer):  # type: ignore[misc]
    """It tells nobody that it runs, and writes no model card into its scratch folder."""

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *_: Any, **__: Any) -> None:
        pass
