r"""DPO with the judge's probability in place of a sure label.

With Δ the policy's log-ratio of chosen to rejected less the reference's, and p the probability that the chosen answer
is the better one,

    L = -[p log σ(βΔ) + (1 - p) log σ(-βΔ)] = -log σ(βΔ) + (1 - p) βΔ,    since log σ(-x) = log σ(x) - x.

So it is TRL's own loss and a term that is linear in Δ: at p = 1 nothing is added, and for no Δ is a logarithm of zero
taken. This is the cross entropy against p of Mitchell (2023), "A note on DPO with noisy preferences", with a p for each
pair; Bai et al. 2022, section 4.1, train their preference model on such labels. `sigmoid_norm` is the same with each
answer's log-ratio divided by its number of tokens. Other losses are left as TRL has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference


class SoftCollator(DataCollatorForPreference):  # type: ignore[misc]
    """Pairs in a batch with their `p`, [pairs]."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["p"] = torch.tensor([example["p"] for example in examples], dtype=torch.float32)
        return batch


class SoftLabelDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer on rows that are already tokens (prompt_ids, chosen_ids, rejected_ids, p)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The reference's log-probabilities come in the batch, put there by `_compute_loss`: of each pair they are
        # needed here too, and TRL keeps but their mean.
        self.precompute_ref_logps = True

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt_ids", "chosen_ids", "rejected_ids", "p"]

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        pairs = {name: value for name, value in inputs.items() if name != "p"}
        reference = self.compute_ref_log_probs(self.ref_model or self.model, pairs)
        pairs["ref_chosen_logps"], pairs["ref_rejected_logps"] = reference
        seen = []

        def watched(**given: Any) -> Any:
            outputs = model(**given)
            seen.append(outputs)
            return outputs

        loss = super()._compute_loss(watched, pairs, return_outputs)
        hard, outputs = loss if return_outputs else (loss, None)
        mask = pairs["completion_mask"]
        policy = seen[0].log_probs[:, -(mask.size(1) - 1) :].sum(dim=1).chunk(2)
        ratios = [ours - theirs for ours, theirs in zip(policy, reference, strict=True)]
        soft = hard + softening(ratios, mask, inputs["p"], self.beta, self.loss_types, self.loss_weights)
        return (soft, outputs) if return_outputs else soft

    def _send_telemetry(self) -> None:
        """It tells nobody that it runs."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Its scratch folder needs none."""


def softening(
    ratios: Sequence[torch.Tensor],
    completion_mask: torch.Tensor,
    p: torch.Tensor,
    beta: float,
    loss_types: Sequence[str],
    loss_weights: Sequence[float],
) -> torch.Tensor:
    """What the labels' softness adds to the loss of a batch: the mean of (1 - p) βΔ, weighted as its loss is.

    `ratios` are log π/π_ref of the chosen and of the rejected answers, each [pairs]; `completion_mask` is [2 pairs,
    tokens], the chosen first; `p` [pairs].
    """
    chosen, rejected = ratios
    lengths = completion_mask.sum(dim=1).clamp(min=1.0).chunk(2)
    total = torch.zeros((), device=chosen.device, dtype=chosen.dtype)
    for loss_type, weight in zip(loss_types, loss_weights, strict=True):
        if loss_type == "sigmoid":
            delta = chosen - rejected
        elif loss_type == "sigmoid_norm":
            delta = chosen / lengths[0] - rejected / lengths[1]
        else:
            continue
        total = total + weight * ((1 - p.to(delta.dtype)) * beta * delta).mean()
    return total
