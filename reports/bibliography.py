"""The works that a methods paragraph may cite, as BibTeX.

>>> print(bibtex(["holm1979"]))
@article{holm1979,
  author = {Holm, Sture},
  title = {A Simple Sequentially Rejective Multiple Test Procedure},
  …
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A published work; `fields` are BibTeX as they stand: ours, and free of anything that was read from a file."""

    kind: str
    fields: Mapping[str, str]


def _article(author: str, title: str, journal: str, year: int, volume: str, pages: str) -> Work:
    volume, _, number = volume.partition(":")
    numbered = {"number": number} if number else {}
    fields = {"author": author, "title": title, "journal": journal, "year": str(year), "volume": volume}
    return Work("article", {**fields, **numbered, "pages": pages})


def _preprint(author: str, title: str, year: int, arxiv: str) -> Work:
    """`note` beside `eprint`: the plain styles print the one and ignore the other."""
    fields = {"author": author, "title": title, "year": str(year), "eprint": arxiv, "archiveprefix": "arXiv"}
    return Work("misc", {**fields, "note": f"arXiv:{arxiv}"})


def _paper(author: str, title: str, booktitle: str, year: int, arxiv: str) -> Work:
    fields = {"author": author, "title": title, "booktitle": booktitle, "year": str(year), "eprint": arxiv}
    return Work("inproceedings", {**fields, "archiveprefix": "arXiv", "note": f"arXiv:{arxiv}"})


NEURIPS = "Advances in Neural Information Processing Systems"

WORKS: Mapping[str, Work] = {
    # --- what is measured ---
    "zheng2023": _paper(
        "Zheng, Lianmin and Chiang, Wei-Lin and Sheng, Ying and Zhuang, Siyuan and Wu, Zhanghao and Zhuang, Yonghao "
        "and Lin, Zi and Li, Zhuohan and Li, Dacheng and Xing, Eric P. and Zhang, Hao and Gonzalez, Joseph E. and "
        "Stoica, Ion",
        "Judging {LLM}-as-a-Judge with {MT-Bench} and {Chatbot Arena}",
        NEURIPS, 2023, "2306.05685",
    ),
    "bai2022helpful": _preprint(
        "Bai, Yuntao and others",
        "Training a Helpful and Harmless Assistant with Reinforcement Learning from Human Feedback",
        2022, "2204.05862",
    ),
    "bai2022": _preprint(
        "Bai, Yuntao and others", "Constitutional {AI}: Harmlessness from {AI} Feedback", 2022, "2212.08073"
    ),
    "zhang2025": _preprint(
        "Zhang, Xue",
        "Constitution or Collapse? {Exploring} Constitutional {AI} with {Llama} 3-{8B}",
        2025, "2504.04918",
    ),
    "zou2023": _preprint(
        "Zou, Andy and Wang, Zifan and Carlini, Nicholas and Nasr, Milad and Kolter, J. Zico and Fredrikson, Matt",
        "Universal and Transferable Adversarial Attacks on Aligned Language Models",
        2023, "2307.15043",
    ),
    "mazeika2024": _paper(
        "Mazeika, Mantas and Phan, Long and Yin, Xuwang and Zou, Andy and Wang, Zifan and Mu, Norman and Sakhaee, "
        "Elham and Li, Nathaniel and Basart, Steven and Li, Bo and Forsyth, David and Hendrycks, Dan",
        "{HarmBench}: A Standardized Evaluation Framework for Automated Red Teaming and Robust Refusal",
        "International Conference on Machine Learning", 2024, "2402.04249",
    ),
    "souly2024": _paper(
        "Souly, Alexandra and Lu, Qingyuan and Bowen, Dillon and Trinh, Tu and Hsieh, Elvis and Pandey, Sana and "
        "Abbeel, Pieter and Svegliato, Justin and Emmons, Scott and Watkins, Olivia and Toyer, Sam",
        "A {StrongREJECT} for Empty Jailbreaks",
        NEURIPS, 2024, "2402.10260",
    ),
    "chao2024": _paper(
        r"Chao, Patrick and Debenedetti, Edoardo and Robey, Alexander and Andriushchenko, Maksym and Croce, Francesco "
        r"and Sehwag, Vikash and Dobriban, Edgar and Flammarion, Nicolas and Pappas, George J. and Tram{\`e}r, Florian "
        r"and Hassani, Hamed and Wong, Eric",
        "{JailbreakBench}: An Open Robustness Benchmark for Jailbreaking Large Language Models",
        NEURIPS, 2024, "2404.01318",
    ),
    "wang2024": _preprint(
        "Wang, Yuxia and Li, Haonan and Han, Xudong and Nakov, Preslav and Baldwin, Timothy",
        "{Do-Not-Answer}: A Dataset for Evaluating Safeguards in {LLMs}",
        2023, "2308.13387",
    ),
    "rottger2024": Work(
        "inproceedings",
        {
            "author": r"R{\"o}ttger, Paul and Kirk, Hannah Rose and Vidgen, Bertie and Attanasio, Giuseppe and "
            "Bianchi, Federico and Hovy, Dirk",
            "title": "{XSTest}: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language Models",
            "booktitle": "Proceedings of the 2024 Conference of the North American Chapter of the Association for "
            "Computational Linguistics: Human Language Technologies (Volume 1: Long Papers)",
            "year": "2024",
            "pages": "5377--5400",
            "doi": "10.18653/v1/2024.naacl-long.301",
        },
    ),
    "gao2023": Work(
        "misc",
        {
            "author": "Gao, Leo and Tow, Jonathan and Abbasi, Baber and Biderman, Stella and Black, Sid and DiPofi, "
            "Anthony and Foster, Charles and others",
            "title": "A Framework for Few-Shot Language Model Evaluation",
            "year": "2023",
            "publisher": "Zenodo",
            "doi": "10.5281/zenodo.10256836",
            "note": "doi:10.5281/zenodo.10256836",
        },
    ),
    "welleck2020": _paper(
        "Welleck, Sean and Kulikov, Ilia and Roller, Stephen and Dinan, Emily and Cho, Kyunghyun and Weston, Jason",
        "Neural Text Generation With Unlikelihood Training",
        "International Conference on Learning Representations", 2020, "1908.04319",
    ),
    # --- how far a figure may be off, and what is told apart ---
    "miller2024": _preprint(
        "Miller, Evan",
        "Adding Error Bars to Evals: A Statistical Approach to Language Model Evaluations",
        2024, "2411.00640",
    ),
    "wilson1927": _article(
        "Wilson, Edwin B.", "Probable Inference, the Law of Succession, and Statistical Inference",
        "Journal of the American Statistical Association", 1927, "22:158", "209--212",
    ),
    "korn1998": _article(
        "Korn, Edward L. and Graubard, Barry I.",
        "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data",
        "Survey Methodology", 1998, "24:2", "193--201",
    ),
    "clopper1934": _article(
        "Clopper, C. J. and Pearson, E. S.",
        "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
        "Biometrika", 1934, "26:4", "404--413",
    ),
    "efron1987": _article(
        "Efron, Bradley", "Better Bootstrap Confidence Intervals",
        "Journal of the American Statistical Association", 1987, "82:397", "171--185",
    ),
    "student1908": _article("{Student}", "The Probable Error of a Mean", "Biometrika", 1908, "6:1", "1--25"),
    "tango1998": _article(
        "Tango, Toshiro",
        "Equivalence Test and Confidence Interval for the Difference in Proportions for the Paired-Sample Design",
        "Statistics in Medicine", 1998, "17:8", "891--908",
    ),
    "agresti2005": _article(
        "Agresti, Alan and Min, Yongyi",
        "Simple Improved Confidence Intervals for Comparing Matched Proportions",
        "Statistics in Medicine", 2005, "24:5", "729--740",
    ),
    "fagerland2013": _article(
        "Fagerland, Morten W. and Lydersen, Stian and Laake, Petter",
        "The {McNemar} Test for Binary Matched-Pairs Data: Mid-p and Asymptotic Are Better than Exact Conditional",
        "BMC Medical Research Methodology", 2013, "13", "91",
    ),
    "holm1979": _article(
        "Holm, Sture", "A Simple Sequentially Rejective Multiple Test Procedure",
        "Scandinavian Journal of Statistics", 1979, "6:2", "65--70",
    ),
    "benjamini1995": _article(
        "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing",
        "Journal of the Royal Statistical Society: Series B", 1995, "57:1", "289--300",
    ),
}  # fmt: skip

OF_SETS: Mapping[str, str] = {
    "mt_bench": "zheng2023",
    "advbench": "zou2023",
    "harmbench": "mazeika2024",
    "harmbench_standard": "mazeika2024",
    "harmbench_contextual": "mazeika2024",
    "strongreject": "souly2024",
    "strongreject_small": "souly2024",
    "do_not_answer": "wang2024",
    "jailbreakbench": "chao2024",
    "jailbreakbench_benign": "chao2024",
    "xstest": "rottger2024",
    "hh_rlhf": "bai2022helpful",
    "hh_rlhf_multi": "bai2022helpful",
}
"""What is cited for a set of `tasks.sources`, by its name."""


def bibtex(keys: Iterable[str]) -> str:
    """The entries of some works, in the order of their keys; each once.

    Raises:
        KeyError: a work that is not known here.
    """
    return "\n".join(_entry(key, WORKS[key]) for key in sorted(set(keys)))


def _entry(key: str, work: Work) -> str:
    fields = "\n".join(f"  {name} = {{{value}}}," for name, value in work.fields.items())
    return f"@{work.kind}{{{key},\n{fields}\n}}\n"
