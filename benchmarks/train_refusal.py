"""Trains the offline refusal judge, and measures it on models it was not trained on.

    pip download --no-deps pyrit==1.1.0
    python -m benchmarks.train_refusal ../shared/data --pyrit pyrit-1.1.0-py3-none-any.whl            # measures
    python -m benchmarks.train_refusal ../shared/data --pyrit pyrit-1.1.0-py3-none-any.whl --write    # trains

Trained on: our own examples (data/refusal_examples.jsonl) and replies put together from our own
parts (refusal_parts.toml); XSTest's completions of two models with human labels (CC-BY-4.0); the replies of
JailbreakBench artifacts that succeeded (MIT), which comply; PyRIT's labelled refusals (MIT). Only weights of signals
leave this script, and the words of a prompt are hidden from them ("_"). The same files give the same weights.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import statistics
import time
import tomllib
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

from judges.refusal import BODY, COMPLIED, PARTIAL, REFUSED, classify, normalised
from judges.refusal_signals import read

OWN = Path(__file__).parent / "data"
WEIGHTS = Path(__file__).parents[1] / "judges" / "data" / "refusal_weights.json"
CLASSES = ("refused", "partial", "complied")
XSTEST_LABELS = {"1_full_compliance": COMPLIED, "2_full_refusal": REFUSED, "3_partial_refusal": PARTIAL}
XSTEST_MODELS = ("gpt4", "llama2new")
ASKED = ("How do I {ask}?", "How can I {ask}?", "Tell me how to {ask}.", "What is the best way to {ask}?",
         "Explain {doing}.", "I want to {ask}. What should I do?", "Write a guide to {doing}.")  # fmt: skip
COMPOSED = 2400
OWN_WEIGHT = 2
"""How often each of our own examples counts: they are few, hard, and as unlike one another as we could make them."""
STRENGTH = 0.15
"""Inverse of the penalty on squared weights (the C of other libraries)."""
RARE = 4
"""A run of words in fewer replies than this is no signal."""
RUN_SCALE = 0.25
"""Runs of words are many and weak: scaled down, the same penalty weighs more on them."""
NEGLIGIBLE = 0.02


Flat: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]


class Example(NamedTuple):
    prompt: str
    reply: str
    label: int


# --- the data ---


def own_examples() -> list[Example]:
    """Written for this: many styles of models, terse and older and newer ones."""
    rows = [json.loads(line) for line in (OWN / "refusal_examples.jsonl").read_text(encoding="utf-8").splitlines()]
    return [Example(row["prompt"], row["reply"], CLASSES.index(row["label"])) for row in rows]


def composed(count: int = COMPOSED, seed: int = 1) -> list[Example]:
    """Replies put together from parts: what makes one a refusal is how its parts follow one another."""
    parts: dict[str, Any] = tomllib.loads((OWN / "refusal_parts.toml").read_text(encoding="utf-8"))
    draw = random.Random(seed)

    def one(kind: str) -> str:
        return str(draw.choice(parts[kind]))

    def some(kind: str, least: int, most: int) -> list[str]:
        return draw.sample(parts[kind], draw.randint(least, most))

    def maybe(chance: float, kind: str) -> list[str]:
        return [one(kind)] if draw.random() < chance else []

    def compose() -> Example:
        topic = draw.choice(parts["topics"])
        kind = draw.choices(("declines", "norms", "partial", "complies"), (30, 18, 14, 38))[0]
        long = draw.random() < 0.5
        if kind in ("declines", "norms"):
            label = REFUSED
            said = [one(kind), *some("reasons", kind == "norms", 3 - (kind == "declines"))]
            said += some("lectures", 0, 3 if long else 1) + (maybe(0.3, "norms") if kind == "declines" else [])
            tail = maybe(0.28, "alternatives") or some("closers", kind == "norms", 2)
        else:
            content = [topic["content"]]
            if long:
                content[0] += ("\n" if content[0][:2] in ("1.", "- ") else " ") + " ".join(some("fillers", 1, 8))
            if kind == "partial":
                label = PARTIAL
                said = [one("declines"), *some("reasons", 0, 1), *some("lectures", 0, int(long)), one("bridges")]
                tail = content + maybe(0.3, "afterwords")
            else:
                label = COMPLIED
                said = [*maybe(0.35, "caveats"), one("consents")]
                tail = content + (some("afterwords", 1, 2) if draw.random() < 0.6 else [])
        end = " ".join(tail)
        between = "\n\n" if end[:2] in ("1.", "- ") or draw.random() < 0.4 else " "
        reply = (" ".join(filter(None, said)) + between + end).strip()
        return Example(_filled(draw.choice(ASKED), topic), _filled(reply, topic), label)

    return [compose() for _ in range(count)]


def _filled(text: str, topic: dict[str, str]) -> str:
    doing = topic["doing"]
    return text.replace("{ask}", topic["ask"]).replace("{doing}", doing).replace("{Doing}", doing.capitalize())


def xstest(data: Path, model: str) -> list[Example]:
    with (data / "xstest" / f"xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as lines:
        return [
            Example(row["prompt"], row["completion"], XSTEST_LABELS[row["final_label"]])
            for row in csv.DictReader(lines)
        ]


def jailbroken(data: Path) -> list[Example]:
    """The replies of JailbreakBench's artifacts that its judge called successful; the others need not be refusals."""
    files = sorted((data / "jailbreakbench").glob("*/*.json"))
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["jailbreaks"]]
    return [Example(row["prompt"], row["response"], COMPLIED) for row in rows if row["response"] and row["jailbroken"]]


def pyrit(wheel: Path) -> list[Example]:
    """PyRIT's labelled refusals, without the replies that answer another prompt: it calls those refusals too."""
    rows: list[dict[str, str]] = []
    with zipfile.ZipFile(wheel) as members:
        for name in ("refusal.csv", "refusal_extra.csv"):
            text = members.read(f"pyrit/datasets/scorer_evals/refusal_scorer/{name}").decode("utf-8-sig")
            lines = text.splitlines(keepends=True)
            rows += csv.DictReader(io.StringIO("".join(line for line in lines if not line.startswith("# "))))
    answered = {row["objective"] for row in rows if row["human_score"] == "0"}
    return [
        Example(row["objective"], row["assistant_response"], REFUSED if row["human_score"] == "1" else COMPLIED)
        for row in rows
        if row["human_score"] == "0" or row["objective"] not in answered
    ]


# --- the model ---


class Model(NamedTuple):
    """Weights of the classes (columns) by signal (rows), and by nothing at all."""

    rows: dict[str, int]
    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def predict(self, examples: Sequence[Example]) -> npt.NDArray[np.int64]:
        scores = _matrix([signs_of(each) for each in examples], self.rows) @ self.weights + self.bias
        return np.array(np.argmax(scores, axis=1), dtype=np.int64)


_SIGNS: dict[Example, dict[str, float]] = {}


def signs_of(example: Example) -> dict[str, float]:
    """The signals of a reply; runs of first words stand in quotation marks."""
    if example not in _SIGNS:
        reading = read(example.prompt[:BODY], normalised(example.reply))
        _SIGNS[example] = {**reading.signs, **{f'"{run}"': 1.0 for run in reading.runs}}
    return _SIGNS[example]


def train(examples: Sequence[Example]) -> Model:
    """Multinomial logistic regression with a penalty on squared weights, to the optimum (L-BFGS)."""
    signs = [signs_of(example) for example in examples]
    seen = Counter(name for each in signs for name in each)
    rows = {name: row for row, name in enumerate(sorted(name for name, n in seen.items() if n >= RARE))}
    scale = np.array([RUN_SCALE if name.startswith('"') else 1.0 for name in rows])
    x = _matrix(signs, rows) @ sparse.diags(scale)
    y = np.eye(len(CLASSES))[[example.label for example in examples]]
    shape = (len(rows) + 1, len(CLASSES))

    def loss(flat: Flat) -> tuple[float, Flat]:
        theta = flat.reshape(shape)
        scores = x @ theta[1:] + theta[0]
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        wrong = np.exp(logs) - y
        gradient = np.vstack([wrong.sum(axis=0), x.T @ wrong + theta[1:] / STRENGTH])
        return float(-(y * logs).sum() + (theta[1:] ** 2).sum() / (2 * STRENGTH)), gradient.ravel()

    start: Flat = np.zeros(shape[0] * shape[1])
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-13, "gtol": 1e-6},
    )
    theta = np.asarray(found.x).reshape(shape)
    return Model(rows, theta[1:] * scale[:, None], theta[0])


def _matrix(signs: Sequence[dict[str, float]], rows: dict[str, int]) -> sparse.csr_array:
    cells = [(n, rows[name], value) for n, each in enumerate(signs) for name, value in each.items() if name in rows]
    places = [cell[0] for cell in cells], [cell[1] for cell in cells]
    return sparse.csr_array(([cell[2] for cell in cells], places), shape=(len(signs), len(rows)))


def write(model: Model) -> None:
    """Write the weights rounded, without those that never matter."""
    table = {
        name: [round(float(weight), 3) for weight in model.weights[row]]
        for name, row in model.rows.items()
        if np.ptp(model.weights[row]) >= NEGLIGIBLE
    }
    stored = {
        "bias": [round(float(weight), 3) for weight in model.bias],
        "signals": {name: of for name, of in table.items() if not name.startswith('"')},
        "runs": {name[1:-1]: of for name, of in table.items() if name.startswith('"')},
    }
    # One signal a line, so that a diff can be read.
    lines = json.dumps(stored, ensure_ascii=False, separators=(",", ":")).replace("],", "],\n")
    WEIGHTS.parent.mkdir(exist_ok=True)
    WEIGHTS.write_text(lines.replace("{", "{\n").replace("}", "\n}") + "\n", encoding="utf-8")


# --- how good it is ---


def phrases_alone(examples: Sequence[Example]) -> npt.NDArray[np.int64]:
    """What the phrases say without the model: a decline refuses, unless something is given."""
    readings = [read(each.prompt[:BODY], normalised(each.reply)) for each in examples]
    return np.array(
        [COMPLIED if not found.declines else PARTIAL if found.gives else REFUSED for found in readings], dtype=np.int64
    )


def report(name: str, examples: Sequence[Example], found: npt.NDArray[np.int64]) -> None:
    """Full refusal against the rest, as XSTest's authors compare, and each class by itself."""
    label = np.array([example.label for example in examples])
    cells = [f"{name:46} {len(examples):5} {((label == REFUSED) == (found == REFUSED)).mean():8.3f}"]
    for number in range(len(CLASSES)):
        right = int(((label == number) & (found == number)).sum())
        said, there = int((found == number).sum()), int((label == number).sum())
        cells.append(f"{right / said if said else 0:8.2f}/{right / there:.2f}" if there else f"{'—':>13}")
    print("  ".join(cells), flush=True)


def in_turns(examples: Sequence[Example], others: Sequence[Example], turns: int = 8) -> npt.NDArray[np.int64]:
    """Predictions for each eighth of `examples` from a model trained on the other seven and on `others`."""
    order = list(range(len(examples)))
    random.Random(0).shuffle(order)
    found = np.zeros(len(examples), dtype=np.int64)
    for turn in range(turns):
        held = set(order[turn::turns])
        model = train([*others, *(each for n, each in enumerate(examples) if n not in held)])
        found[order[turn::turns]] = model.predict([examples[n] for n in order[turn::turns]])
    return found


def unseen_prompts(
    tested: Sequence[Example], same_prompts: Sequence[Example], others: Sequence[Example]
) -> npt.NDArray[np.int64]:
    """Predictions for one model of XSTest from another model's replies to other prompts only."""
    asked = sorted({each.prompt for each in tested})
    random.Random(0).shuffle(asked)
    found = np.zeros(len(tested), dtype=np.int64)
    for half in (set(asked[::2]), set(asked[1::2])):
        model = train([*others, *(each for each in same_prompts if each.prompt not in half)])
        places = [n for n, each in enumerate(tested) if each.prompt in half]
        found[places] = model.predict([tested[n] for n in places])
    return found


def measure(sets: dict[str, list[Example]]) -> None:
    own = sets["own examples"] * OWN_WEIGHT + sets["composed"]
    outside = sets["jailbroken"] + sets["pyrit"]
    names = "  ".join(f"{name:>13}" for name in CLASSES)
    print(f"{'tested on, trained without it':46} {'n':>5} {'accuracy':>8}  {names}")
    print(f"{'':46} {'':5} {'':8}  " + "  ".join(["precision/rec"] * 3))
    for model, other in (XSTEST_MODELS, XSTEST_MODELS[::-1]):
        tested = sets[model]
        report(f"{model}: the phrases alone", tested, phrases_alone(tested))
        report(f"{model}: own examples only", tested, train(own).predict(tested))
        report(f"{model}: no reply of XSTest", tested, train(own + outside).predict(tested))
        report(f"{model}: without {model}", tested, train(own + outside + sets[other]).predict(tested))
        report(f"{model}: ... nor its prompts", tested, unseen_prompts(tested, sets[other], own + outside))
    both = [each for model in XSTEST_MODELS for each in sets[model]]
    for name in ("pyrit", "own examples"):
        report(f"{name}: the phrases alone", sets[name], phrases_alone(sets[name]))
    report("pyrit: without pyrit", sets["pyrit"], train(own + sets["jailbroken"] + both).predict(sets["pyrit"]))
    rest = sets["composed"] + outside + both
    report("own examples: without an eighth of them, 8 ×", sets["own examples"], in_turns(sets["own examples"], rest))
    speed(both)


def false_alarms(data: Path) -> None:
    """How often answers to everyday instructions, which hardly any model refuses, are said to be refused."""
    for file in sorted((data / "alpaca_eval").glob("*.json")):
        rows = json.loads(file.read_text(encoding="utf-8"))
        found = Counter(classify(row["instruction"], row["output"] or "", harmful=False).label for row in rows)
        refused, partial = found["refused"], found["partial"]
        print(f"everyday instructions, {file.stem}: of {len(rows)}, refused {refused}, partial {partial}")


def speed(examples: Sequence[Example]) -> None:
    """Answers a second of processor time, one after the other, with the weights in the repository."""
    rates = []
    for _ in range(5):
        began = time.process_time()
        for example in examples:
            classify(example.prompt, example.reply)
        rates.append(len(examples) / (time.process_time() - began))
    print(f"{statistics.median(rates):,.0f} answers a second on one core (median of 5; best {max(rates):,.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with xstest/ and jailbreakbench/")
    parser.add_argument("--pyrit", type=Path, required=True, metavar="WHEEL", help="pyrit-1.1.0-py3-none-any.whl")
    parser.add_argument("--write", action="store_true", help="train on everything and write the weights")
    arguments = parser.parse_args()
    sets = {
        "own examples": own_examples(),
        "composed": composed(),
        "jailbroken": jailbroken(arguments.data),
        "pyrit": pyrit(arguments.pyrit),
        **{model: xstest(arguments.data, model) for model in XSTEST_MODELS},
    }
    print("replies: " + ", ".join(f"{name} {len(examples)}" for name, examples in sets.items()))
    if arguments.write:
        again = sets["own examples"] * (OWN_WEIGHT - 1)
        write(train([*(example for examples in sets.values() for example in examples), *again]))
        print(f"wrote {WEIGHTS}: {WEIGHTS.stat().st_size / 1024:.0f} KiB")
    else:
        measure(sets)
        false_alarms(arguments.data)


if __name__ == "__main__":
    main()
