"""The worst answers of a run in a terminal, each with what is wrong in it; what repeats is highlighted.

loop: 12 of 805 answers repeat themselves to their end; 1 of them:

mini_mt, writing-01: loop of 7 words × 40 from word 5; begins after 2% of 853 characters
  asked   Write a thank-you note to a neighbour who watered your plants …
  judged  rubric: 2.8
  said    Here you go. >>>Have a great day! :) Have a great … (700 characters) … a great day! :)<<<
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.inspect_run import BOILERPLATE, FEWEST_PROMPTS, KINDS, Found, Inspection, Shared
from harness.printing import printable
from reports.terminal import NARROWEST
from tasks.collapse.thresholds import VERDICTS

LINES = 4
"""Of an answer about so many lines are shown."""
MARKS = (">>>", "<<<")
"""Around what repeats, where nothing can be highlighted."""
WITHHELD = "(withheld)"


def inspection_text(found: Inspection, console: Console | None = None) -> str:
    """What was found as text, kind by kind. Width and colours are those of `console`, by default of the terminal."""
    console = console or Console(width=max(NARROWEST, Console().width))
    with console.capture() as captured:
        for kind, count in found.counts.items():
            if count:
                worst = [one for one in found.found if one.kind == kind]
                _print_kind(console, kind, worst, count, found.answers)
        if found.shared:
            console.print(_shared(found.shared))
        for line in _closing_lines(found):
            console.print(Text(line))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _print_kind(console: Console, kind: str, worst: Sequence[Found], count: int, answers: int) -> None:
    shown = "" if len(worst) == count else f"; {len(worst)} of them:"
    console.print(Text(f"{kind}: {count:,} of {answers:,} answers {KINDS[kind]}{shown}", style="bold"))
    for one in worst:
        console.print(Text(f"\n{_place(one)}: {_evidence(one)}"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        room = console.width - 12
        grid.add_row("  asked", Text(_first_line(one.prompt, room)))
        if one.verdicts:
            grid.add_row("  judged", Text("; ".join(f"{printable(judge)}: {said}" for judge, said in _short(one))))
        grid.add_row("  said", _said(one, LINES * room, console))
        console.print(grid)
    console.print()


def _place(one: Found) -> str:
    """Which answer it is. Turn and sample are named where there may be others."""
    parts = [one.task, one.item]
    parts += [f"sample {one.sample + 1}"] if one.sample else []
    parts += [f"turn {one.turn}"] if one.turn > 1 else []
    return printable(", ".join(parts))


def _evidence(one: Found) -> str:
    if one.onset is None:
        return one.evidence
    start = f"after {one.onset:.0%}" if one.onset else "at the start"
    return f"{one.evidence}; begins {start} of {one.characters:,} characters"


def _first_line(prompt: str, room: int) -> str:
    lines = prompt.strip().splitlines() or [""]
    line = printable(lines[0])
    return line if len(lines) == 1 and len(line) <= room else f"{line[: room - 2]} …"


def _short(one: Found) -> Iterator[tuple[str, str]]:
    for judge, said in one.verdicts.items():
        yield judge, printable(said if len(said) <= 200 else f"{said[:200]} …")


def _said(one: Found, room: int, console: Console) -> Text:
    if one.text is None:
        return Text(WITHHELD)
    if not one.text.strip():
        return Text(f"nothing but {visible(one.text[:40])!r}" if one.text else "nothing at all")
    lights = console.is_terminal and console.color_system is not None and not console.no_color
    said = Text()
    for part, repeats in excerpt(one.text, one.span, room):
        if not repeats:
            said.append(part)
        elif lights:
            said.append(part, style="reverse")
        else:
            said.append(part.join(MARKS))
    return said


def excerpt(text: str, span: tuple[int, int] | None, room: int) -> Iterator[tuple[str, bool]]:
    """About `room` characters of `text` around a span: parts that can be printed, and whether each is of the span."""
    if span is None:
        yield _shortened(text.strip(), room), False
        return
    start, end = span
    before = text[:start].lstrip()
    if len(before) > room // 3:
        before = f"… {before[-(room // 3) :]}"
    if before:
        yield visible(before), False
    yield _shortened(text[start:end], room - len(before)), True
    if after := text[end:].rstrip():
        yield visible(after[: room // 3]), False


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return visible(text)
    tail = room // 3
    left_out = len(text) - room
    return f"{visible(text[: room - tail])} … ({left_out:,} characters) … {visible(text[-tail:])}"


def visible(text: str) -> str:
    """Text on one line, with its line breaks and all that could steer a terminal to be seen, not sent."""
    return printable(text.replace("\r\n", "\n").replace("\n", "⏎ "))


def _shared(shared: Sequence[Shared]) -> Table:
    table = Table(
        title=f"{BOILERPLATE}: what answers to {FEWEST_PROMPTS} prompts or more have in common",
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for heading in ("", "prompts", "share"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    table.add_column("text", overflow="fold")
    table.add_column("in, for one", overflow="fold")
    last = None
    for one in shared:
        if last not in (None, one.what):
            table.add_section()
        text = WITHHELD if one.text is None else _shortened(one.text.strip(), 80)
        share = f"{100 * one.prompts / one.of:.1f} %"
        where = printable(f"{one.task}, {one.item}")
        table.add_row("" if last == one.what else one.what, f"{one.prompts:,}", share, Text(text), Text(where))
        last = one.what
    return table


def _closing_lines(found: Inspection) -> Iterator[str]:
    if found.shared:
        yield f"Refusals are left out there, and for openers and closers answers under {VERDICTS.shared_words} words."
    elif BOILERPLATE in found.asked:
        yield f"{BOILERPLATE}: no {FEWEST_PROMPTS} prompts have an opener, a closer or a whole answer in common"
    if none := [kind for kind, count in found.counts.items() if not count]:
        yield f"none of {found.answers:,} answers: {', '.join(none)}"
    if found.withheld:
        yield f"{found.withheld} answers to harmful requests are withheld: --show-harmful prints them"
