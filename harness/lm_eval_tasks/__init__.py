"""Our tasks for users of lm-evaluation-harness: a folder of YAML files for its `--include_path`.

    lm_eval --model hf --model_args pretrained=ckpt/dpo --apply_chat_template \
        --include_path "$(bench tasks --lm-eval)" --tasks bench_asr,bench_over_refusal,bench_mini_mt_turn_1

The tag `bench` names all of them. Questions are the embedded ones, and answers are graded by the same offline judges as
those of `bench run`: the same answers come to the same figures.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
"""What `--include_path` takes."""
