"""Measures of words that are numbers, compiled by numba: what compiled.py calls.

One kernel walks each text once, cutting it into words and hashing them three ways (as they are; without case; without
case and numbers, for loops and sketches), then works on 64-bit hashes: n-grams go through an open hash table, loops
through the prefix function of loops.py. A word is its hash here: two different words of one text are taken for one with
a probability of about 10⁻¹⁵.

All of them stand in this file, since numba keeps what it compiled until the file of the *caller* changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from tasks.collapse.alphabet import ALNUM, ALPHA, CHANGES, DIGIT, LETTER, MARK, ODD, SPACE, UNREAD
from tasks.collapse.copying import RUN
from tasks.collapse.duplicates import BINS, FNV_PRIME, FNV_START, GRAM, MIX, SHINGLE
from tasks.collapse.measures import CLOSER, OPENER, RULES

F = TypeVar("F", bound=Callable[..., Any])
compiled: Callable[[F], F] = numba.njit(cache=True, nogil=True)

HAS_NUMBER, IS_ALPHA, IN_LIST_MARKER, READABLE = 1, 2, 4, 8

LOOP, REP_4, COMPRESSION = (RULES.index(rule) for rule in ("loop", "rep-4", "compression"))
EMPTY, UNREADABLE = (RULES.index(rule) for rule in ("empty", "nothing readable"))
NOISE, PROMPT_COPY = (RULES.index(rule) for rule in ("noise", "prompt copy"))
NOT_FIRED, LEFT_TO_PYTHON = -1, -2

_U = np.uint64
START, PRIME, POLYNOMIAL, MIX_1, MIX_2 = (_U(number) for number in (FNV_START, FNV_PRIME, GRAM, *MIX))
S58, S30, S27, S31, S20 = (_U(bits) for bits in (58, 30, 27, 31, 20))
LONGEST, MARKS = _U(24), _U(8)
ONE, ALL_BITS, LOW_16, ZERO_DIGIT = _U(1), _U((1 << 64) - 1), _U(0xFFFF), _U(ord("0"))
LOGS = np.array([0.0, *(times * math.log2(times) for times in range(1, 1024))])
NEWLINE, TAB, BLANK = ord("\n"), ord("\t"), ord(" ")
APOSTROPHES = (ord("'"), ord("’"))
BULLETS = tuple(map(ord, "-*+•–"))
AFTER_NUMBER = (ord("."), ord(")"))


@compiled
def measure_words(
    codes: Any, bounds: Any, bare_codes: Any, bare_bounds: Any, has_bare: Any, prompt_codes: Any, prompt_bounds: Any,
    kinds: Any, lower: Any, scripts: Any,
    min_words: int, loop_repeats: int, loop_words: int, loop_max_period: int, loop_share: float,
    loop_long: int, rep_4: float, least_copied: float, least_repeated: float, most_added: int, rows: Any,
    words: Any, rep: Any, loops: Any, entropy: Any, non_lexical: Any, prompt_copy: Any, copied: Any,
    empty: Any, whole: Any, opener: Any, closer: Any, sketches: Any, status: Any,
) -> None:  # fmt: skip
    """Fill the `rows` of the columns, and `status` with the rule that fired, NOT_FIRED or LEFT_TO_PYTHON."""
    longest = 1
    for place in range(len(rows)):
        longest = max(longest, bounds[place + 1] - bounds[place], prompt_bounds[place + 1] - prompt_bounds[place])
    raw, low, plain = np.empty(longest, np.uint64), np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    flags = np.empty(longest, np.uint8)
    spoken, asked, unused = np.empty(longest, np.uint64), np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    other_flags = np.empty(longest, np.uint8)
    kept, kept_plain = np.empty(longest, np.int64), np.empty(longest, np.uint64)
    again, borders = np.empty(longest, np.bool_), np.empty(longest + 1, np.int64)
    room = _room(longest)
    table, stamps, times = np.empty(room, np.uint64), np.zeros(room, np.int64), np.empty(room, np.int64)
    stamp = 0
    least = np.empty(BINS, np.uint64)
    for place in range(len(rows)):
        begin, end, row = bounds[place], bounds[place + 1], rows[place]
        count, seen, unread, readable, foreign = _cut(codes, begin, end, kinds, lower, raw, low, plain, flags)
        begin, end = prompt_bounds[place], prompt_bounds[place + 1]
        questions = 0
        if begin < end:
            questions = _cut(prompt_codes, begin, end, kinds, lower, unused, asked, unused, other_flags)[0]
        if count < 0 or questions < 0:
            status[place] = LEFT_TO_PYTHON
            continue
        begin, end = bounds[place], bounds[place + 1]
        if questions:
            questions = _spoken(asked, other_flags, questions, asked)
            stamp = _copying(
                asked, questions, low, _spoken(low, flags, count, low), table, stamps, stamp,
                least_copied, least_repeated, most_added, prompt_copy, copied, row,
            )  # fmt: skip
        words[row] = count
        empty[row] = seen == 0
        if foreign:
            unread += _mixed(codes, begin, end, kinds, scripts)
        non_lexical[row] = unread / seen if seen else 0.0
        stamp += 1
        entropy[row], rep[row, 0] = _entropy(raw, count, table, stamps, times, kept, again, stamp)
        said = count
        if has_bare[place]:
            said = _cut(
                bare_codes,
                bare_bounds[place],
                bare_bounds[place + 1],
                kinds,
                lower,
                spoken,
                unused,
                unused,
                other_flags,
            )[0]
            stamp = _repetition(spoken, said, rep[row], 1, kept, again, table, stamps, times, stamp)
        else:
            stamp = _repetition(raw, count, rep[row], 2, kept, again, table, stamps, times, stamp)
        start = _loop_at_the_end(
            raw, plain, flags, count, kept, kept_plain, borders, loop_repeats, loop_words, loop_max_period
        )
        loops[row] = start >= 0
        _sketch(plain, count, least, sketches[row])
        whole[row] = _horner(raw, 0, count)
        opener[row] = _horner(raw, 0, OPENER) if count >= OPENER else _U(0)
        closer[row] = _horner(raw, count - CLOSER, count) if count >= CLOSER else _U(0)
        status[place] = NOT_FIRED
        if seen == 0:
            status[place] = EMPTY
        elif not readable:
            status[place] = UNREADABLE
        elif count >= min_words:
            if start >= 0 and (1 - start / count >= loop_share or count - start >= loop_long):
                status[place] = LOOP
            elif rep[row, 3] > rep_4 and said >= min_words:
                status[place] = REP_4


@compiled
def _cut(
    codes: Any, begin: int, end: Any, kinds: Any, lower: Any, raw: Any, low: Any, plain: Any, flags: Any
) -> tuple[int, int, int, bool, bool]:
    """Cut into words as WORD does; hash each as it is (`raw`), without case (`low`) and without case and numbers.

    Returns the number of words (-1 where Python must), of characters in them, and of those that no reader reads;
    whether any can be read, and whether a word has a letter outside ASCII.
    """
    seen: Any = 0
    count, unread, readable, foreign = 0, 0, False, False
    # Unsigned places: numba need not ask of each whether it counts from the end.
    start, end = _U(begin), _U(end)
    i, marker_end = start, start
    while i < end:
        code = codes[i]
        if i == start or codes[i - ONE] == NEWLINE:
            marker_end = _U(_list_marker(codes, np.int64(i), np.int64(end), kinds))
        kind = kinds[code]
        if kind & SPACE:
            i += ONE
            continue
        exact = (START ^ _U(code)) * PRIME
        some, every, highest = kind, kind, code
        stop = i + ONE
        if kind & LETTER:
            full = min(end, i + LONGEST)
            joined = False
            while True:
                while stop < full and kinds[codes[stop]] & LETTER:
                    code = codes[stop]
                    exact = (exact ^ _U(code)) * PRIME
                    some |= kinds[code]
                    every &= kinds[code]
                    highest = max(highest, code)
                    stop += ONE
                if (
                    joined
                    or stop + ONE >= end
                    or not (codes[stop] == APOSTROPHES[0] or codes[stop] == APOSTROPHES[1])
                    or not kinds[codes[stop + ONE]] & LETTER
                ):
                    break
                joined = True
                exact = (exact ^ _U(codes[stop])) * PRIME
                every = 0
                stop += ONE
                full = min(end, stop + LONGEST)
            foreign |= highest > 127
        elif kind & MARK:
            while stop < end and stop - i < MARKS and codes[stop] == code:
                exact = (exact ^ _U(code)) * PRIME
                stop += ONE
        caseless = alike = exact
        if some & CHANGES:
            caseless = alike = START
            in_number = False
            for j in range(i, stop):
                small = lower[codes[j]]
                if small == ODD:
                    return -1, 0, 0, False, False
                caseless = (caseless ^ _U(small)) * PRIME
                if not kinds[codes[j]] & DIGIT:
                    in_number = False
                    alike = (alike ^ _U(small)) * PRIME
                elif not in_number:
                    in_number = True
                    alike = (alike ^ ZERO_DIGIT) * PRIME
        raw[count], low[count], plain[count] = exact, caseless, alike
        flags[count] = (
            HAS_NUMBER * (some & DIGIT > 0) + IS_ALPHA * (every & ALPHA > 0) + IN_LIST_MARKER * (i < marker_end)
            + READABLE * (some & ALNUM > 0)
        )  # fmt: skip
        count += 1
        seen += np.int64(stop - i)
        readable |= some & ALNUM > 0
        if some & UNREAD:
            for j in range(i, stop):
                unread += kinds[codes[j]] & UNREAD > 0
        i = stop
    return count, seen, unread, readable, foreign


@compiled
def _spoken(low: Any, flags: Any, count: int, spoken: Any) -> int:
    """words.spoken_words of `low` into `spoken`, which may be the same; returns their number."""
    kept = 0
    for i in range(count):
        if flags[i] & READABLE:
            spoken[kept] = low[i]
            kept += 1
    return kept


@compiled
def _copying(
    asked: Any, asked_count: int, said: Any, said_count: int, table: Any, stamps: Any, stamp: int,
    least_copied: float, least_repeated: float, most_added: int, share: Any, copied: Any, row: int,
) -> int:  # fmt: skip
    """share_copied and repeats of copying.py into the columns `share` and `copied`. Returns the last stamp used."""
    if not said_count:
        return stamp
    stamp += 1
    in_text, _, ends_in_copy = _copied(asked, asked_count, said, said_count, table, stamps, stamp)
    share[row] = in_text / said_count
    added = said_count - in_text
    if asked_count >= RUN and ends_in_copy and added <= min(most_added, (1 - least_copied) * said_count):
        stamp += 1
        in_prompt, first, last = _copied(said, said_count, asked, asked_count, table, stamps, stamp)
        copied[row] = first and last and in_prompt / asked_count >= least_repeated
    return stamp


@compiled
def _copied(
    source: Any, source_count: int, words: Any, count: int, table: Any, stamps: Any, stamp: int
) -> tuple[int, bool, bool]:
    """How many of `words` lie in a run of RUN words of `source`; whether the first one and the last one do."""
    run = min(RUN, source_count)
    if run == 0 or count < run:
        return 0, False, False
    # Mostly empty: what is not copied is told by one look, and nearly always the same way.
    room = min(_room(16 * source_count), len(table))
    for i in range(source_count - run + 1):
        gram = _run_hash(source, i, run)
        slot = _slot(gram, room)
        while stamps[slot] == stamp and table[slot] != gram:
            slot = (slot + 1) & (room - 1)
        stamps[slot], table[slot] = stamp, gram
    covered, reached, first, last = 0, 0, False, False
    for i in range(count - run + 1):
        gram = _run_hash(words, i, run)
        slot = _slot(gram, room)
        while stamps[slot] == stamp and table[slot] != gram:
            slot = (slot + 1) & (room - 1)
        if stamps[slot] == stamp:
            covered += i + run - max(i, reached)
            reached = i + run
            first |= i == 0
            last |= i == count - run
    return covered, first, last


@compiled
def _run_hash(words: Any, start: int, run: int) -> Any:
    gram = words[start]
    for i in range(start + 1, start + run):
        gram = gram * POLYNOMIAL + words[i]
    return gram


@compiled
def _list_marker(codes: Any, i: Any, end: Any, kinds: Any) -> Any:
    """Where a list marker at the start of a line ends, `i` if there is none."""
    start = i
    while i < end and (codes[i] == BLANK or codes[i] == TAB):
        i += 1
    stop = i
    while stop < end and stop - i < 4 and kinds[codes[stop]] & DIGIT:
        stop += 1
    if stop >= end:
        return start
    if stop > i:
        if codes[stop] != AFTER_NUMBER[0] and codes[stop] != AFTER_NUMBER[1]:
            return start
    else:
        bullet = False
        for code in BULLETS:
            bullet |= codes[stop] == code
        if not bullet:
            return start
    stop += 1
    return stop if stop < end and kinds[codes[stop]] & SPACE else start


@compiled
def _mixed(codes: Any, begin: int, end: int, kinds: Any, scripts: Any) -> int:
    """How many letters stand in a run of letters of more than one script."""
    found, letters, first, mixed = 0, 0, 0, False
    for i in range(begin, end):
        kind = kinds[codes[i]]
        if kind & LETTER:
            letters += kind & ALPHA > 0
            of = scripts[codes[i]]
            if of:
                mixed |= first != 0 and first != of
                first = of
        if not kind & LETTER or i == end - 1:
            if mixed:
                found += letters
            letters, first, mixed = 0, 0, False
    return found


@compiled
def _entropy(
    words: Any, count: int, table: Any, stamps: Any, times: Any, slots: Any, again: Any, stamp: int
) -> tuple[float, float]:
    """normalised_entropy, summed in the order of the first occurrences, and rep_1.

    `again` says which words come more than once.
    """
    room, distinct = min(_room(2 * count), len(table)), 0
    for i in range(count):
        slot = _slot(words[i], room)
        while stamps[slot] == stamp and table[slot] != words[i]:
            slot = (slot + 1) & (room - 1)
        if stamps[slot] != stamp:
            stamps[slot], table[slot], times[slot] = stamp, words[i], 0
            distinct += 1
        times[slot] += 1
        slots[i] = slot
    taken = 0.0
    for i in range(count):
        slot = slots[i]
        again[i] = times[slot] != 1
        # Below zero: counted already.
        if times[slot] > 1:
            taken += LOGS[times[slot]] if times[slot] < len(LOGS) else times[slot] * math.log2(times[slot])
            times[slot] = -times[slot]
    if count < 2:
        return 0.0, 0.0
    most = count * math.log2(count)
    return (most - taken) / most, 1 - distinct / count


@compiled
def _repetition(
    words: Any,
    count: int,
    rep: Any,
    first: int,
    places: Any,
    again: Any,
    table: Any,
    stamps: Any,
    seen: Any,
    stamp: int,
) -> int:
    """rep_n for n = 1..4 in `rep`. A run of words can only come twice where the run without its last word does.

    From `first` = 2 on, `again` must say which words come more than once. Returns the last stamp used.
    """
    left = 0
    for i in range(count):
        if first == 1 or again[i]:
            places[left] = i
            left += 1
    if first == 1:
        rep[:] = 0.0
    for n in range(first, 5):
        total = count - n + 1
        if total <= 0:
            break
        stamp, repeated, left = _repeated(words, n, total, places, left, again, table, stamps, seen, stamp)
        rep[n - 1] = 1 - (total - repeated) / total
    return stamp


@compiled
def _repeated(
    words: Any, n: int, total: int, places: Any, left: int, again: Any, table: Any, stamps: Any, seen: Any, stamp: int
) -> tuple[int, int, int]:
    """How many runs of `n` words at these `places` repeat an earlier one; `places` keeps those that come again."""
    stamp += 1
    room, repeated = min(_room(4 * left), len(table)), 0
    for k in range(left):
        i = places[k]
        again[k] = False
        if i >= total:
            continue
        gram = words[i]
        for j in range(i + 1, i + n):
            gram = gram * POLYNOMIAL + words[j]
        slot = _slot(gram, room)
        while stamps[slot] == stamp and table[slot] != gram:
            slot = (slot + 1) & (room - 1)
        if stamps[slot] != stamp:
            stamps[slot], table[slot], seen[slot] = stamp, gram, k
        else:
            repeated += 1
            again[k] = again[seen[slot]] = True
    kept = 0
    for k in range(left):
        if again[k]:
            places[kept] = places[k]
            kept += 1
    return stamp, repeated, kept


@compiled
def _room(count: int) -> int:
    """Slots for a table at most half full: a power of two."""
    room = 16
    while room < 2 * count:
        room *= 2
    return room


@compiled
def _slot(gram: Any, room: int) -> Any:
    return np.int64((gram * MIX_1) >> S30) & (room - 1)


@compiled
def _loop_at_the_end(
    raw: Any, plain: Any, flags: Any, count: int, kept: Any, kept_plain: Any, borders: Any,
    repeats: int, least: int, longest: int,
) -> int:  # fmt: skip
    """The word at which the loop that ends the text starts, -1 for none: as _loop_at_the_end of diagnosis.py."""
    left = 0
    for i in range(count):
        if not flags[i] & IN_LIST_MARKER:
            kept[left], kept_plain[left] = i, plain[i]
            left += 1
    for cut in range(2):
        start, period = _loop(kept_plain, left - cut, borders, repeats, least, longest)
        if start >= 0:
            numbers, spelt = 0, 0
            for i in range(start, start + period):
                numbers += flags[kept[i]] & HAS_NUMBER > 0
                spelt += flags[kept[i]] & IS_ALPHA > 0
            if numbers == 0 or spelt >= 3:
                return int(kept[start])
        start, period = _loop(raw, count - cut, borders, repeats, least, longest)
        if start >= 0:
            return start
    return -1


@compiled
def _loop(words: Any, count: int, borders: Any, repeats: int, least: int, longest: int) -> tuple[int, int]:
    """Start and period of loops.loop, -1 and 0 for none."""
    if count < least:
        return -1, 0
    # Most texts end in a word that is rare, or rare behind the word before it. A loop has its last two words once in
    # each period at least, and one of period 1 nearly as often as it has words.
    last, before = words[count - 1], words[max(0, count - 2)]
    seen, pairs = words[0] == last, 0
    for i in range(1, count):
        seen += words[i] == last
        pairs += words[i] == last and words[i - 1] == before
    if seen < repeats or (repeats > 1 and pairs < repeats - 1):
        return -1, 0
    borders[0], borders[1] = 0, 0
    length, period, border = 0, 0, 0
    for turned in range(1, count):
        word = words[count - 1 - turned]
        while border and words[count - 1 - border] != word:
            border = borders[border]
        if words[count - 1 - border] == word:
            border += 1
        size = turned + 1
        borders[size] = border
        smallest = size - border
        if smallest * repeats <= size and size >= least and smallest <= longest:
            length, period = size, smallest
    return (count - length, period) if length else (-1, 0)


@compiled
def _sketch(plain: Any, count: int, least: Any, sketch: Any) -> None:
    """duplicates.sketch."""
    for i in range(BINS):
        least[i] = ALL_BITS
        sketch[i] = 0
    for i in range(count - SHINGLE + 1):
        mixed = plain[i]
        for n in range(1, SHINGLE):
            mixed = mixed * POLYNOMIAL + plain[i + n]
        mixed = (mixed ^ (mixed >> S30)) * MIX_1
        mixed = (mixed ^ (mixed >> S27)) * MIX_2
        mixed ^= mixed >> S31
        to = np.int64(mixed >> S58)
        least[to] = min(least[to], mixed)
    for i in range(BINS):
        if least[i] != ALL_BITS:
            sketch[i] = max((least[i] >> S20) & LOW_16, ONE)


@compiled
def _horner(words: Any, begin: int, end: int) -> Any:
    """The hash of a run of words; 0 is that of none."""
    if begin == end:
        return _U(0)
    found = words[begin]
    for i in range(begin + 1, end):
        found = found * POLYNOMIAL + words[i]
    return max(found, ONE)
