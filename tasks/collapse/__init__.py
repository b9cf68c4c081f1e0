"""Measures of collapsed text, and the finding that one answer is degenerate.

>>> diagnose("Here you go. " + "Have a great day! :) " * 40).explain()
'loop of 7 words × 40 from word 5'
"""

from tasks.collapse.diagnosis import Diagnosis, Rule, copies_prompt, diagnose
from tasks.collapse.loops import Loop, loop
from tasks.collapse.repetition import compression_ratio, prompt_copy, rep_n
from tasks.collapse.thresholds import DEFAULTS, VERSION, Thresholds
from tasks.collapse.words import is_empty, is_readable, without_code_and_tables, words

__all__ = [
    "DEFAULTS",
    "VERSION",
    "Diagnosis",
    "Loop",
    "Rule",
    "Thresholds",
    "compression_ratio",
    "copies_prompt",
    "diagnose",
    "is_empty",
    "is_readable",
    "loop",
    "prompt_copy",
    "rep_n",
    "without_code_and_tables",
    "words",
]
