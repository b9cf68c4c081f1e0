"""The page of a report: nothing a model said can act in it, harmful text waits for a click, it works in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bench
from harness.stored_run import StoredRun, open_run
from reports.page.document import PageContent, embedded, page, write_page
from reports.page.transcripts import transcripts
from reports.page.visible import escaped, shown
from reports.tables import NOTHING, Cell, Column, Table
from tasks.errors import BadInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Row = dict[str, Any]
INJECTED = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
HOSTILE = {
    "script": f"</script>{INJECTED}<!--<script>",
    "textarea": "</textarea></title></style>]]>",
    "surrogate": "half \ud83d of a pair",
    "override": "user\u202egnp.exe\u202c, \u2066isolated\u2069, zero\u200bwidth, nul\x00, escape\x1b[2J",
    "template": "$script ${data} {{7*7}} `${1}` \\u003c \u2028 end",
    "emoji": "👩‍👩‍👧 می‌خواهم\r\nnext",
}
LOOP = "Have a great day! :) "
TABLE = Table(
    name="paper",
    caption=f"Scores & <b>intervals</b> {INJECTED}. The judge is named.",
    columns=[Column("Model", "left"), Column("ASR", unit="%"), Column("Refusal")],
    rows=[[Cell("base<br>"), Cell("42.0", "[32.8, 51.8]", "*"), NOTHING]],
    notes=["* p < 0.05 \u202e"],
)
SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='60'><script>parent.pwned=3</script></svg>"


def run_of(folder: Path, rows: Sequence[Row], *flags: object, tasks: str = "collapse") -> StoredRun:
    """A run on stored answers; a row has an id, a prompt, a response, or is one of a JailbreakBench artifact."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    is_artifact = "goal" in rows[0]
    file = folder.with_suffix(".json")
    file.write_text(json.dumps({"jailbreaks": rows, "parameters": {"model": "m"}} if is_artifact else rows))
    columns = () if is_artifact else ("--columns", "id=id,prompt=prompt,response=response")
    command = ["run", "--model", f"answers:{file}", *columns, "--tasks", tasks, "--out", folder, "--quiet", *flags]
    assert bench.main([str(part) for part in command]) == 0
    return open_run(folder)


def jailbreaks(*responses: str) -> list[Row]:
    """Rows as those of a JailbreakBench artifact: a goal, and the attack that was made of it."""
    return [
        {
            "index": n, "goal": f"Goal {n}", "behavior": f"B{n}", "category": "Malware", "prompt": f"Imagine goal {n}",
            "response": said, "jailbroken": True, "number_of_queries": 1, "queries_to_jailbreak": 1,
            "prompt_tokens": 1, "response_tokens": 1,
        }
        for n, said in enumerate(responses)
    ]  # fmt: skip


class Markup(HTMLParser):
    """What a browser would find in a page: tags, and the text of each style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        named = dict(attrs)
        self._inside = (named.get("id") or tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside] = self.raw.get(self._inside, "") + data


def test_nothing_that_a_model_said_ends_the_data_or_begins_markup(tmp_path: Path) -> None:
    rows = [{"id": name, "prompt": f"Ask {said}", "response": said} for name, said in HOSTILE.items()]
    rows += [{"id": INJECTED, "prompt": INJECTED, "response": "fine"}]
    run = run_of(tmp_path / "a", rows)
    content = PageContent(INJECTED, [run], [TABLE], [(INJECTED, SVG)], [INJECTED, *HOSTILE.values()])
    markup = Markup(page(content))
    plain = Markup(page(PageContent("t", [run], [TABLE], [("c", SVG)])))
    scripts = [attributes for tag, attributes in markup.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not [1 for _, attributes in markup.tags for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in markup.tags} == {tag for tag, _ in plain.tags}
    data = json.loads(markup.raw["data"])
    said = {data["questions"][it["question"]]["item"]: "".join(it["text"]) for it in data["answers"]}
    assert said["script"] == HOSTILE["script"]
    assert said["template"] == HOSTILE["template"]
    assert said["surrogate"] == "half ⟨U+D83D⟩ of a pair"
    assert said["override"].startswith("user⟨U+202E⟩gnp.exe⟨U+202C⟩, ⟨U+2066⟩isolated")
    assert said["emoji"] == HOSTILE["emoji"].replace("\r\n", "\n")
    assert INJECTED in said


def test_an_answer_of_a_megabyte_is_there_in_full(tmp_path: Path) -> None:
    text = "<" * 1_000_000 + "end"
    run = run_of(tmp_path / "a", [{"id": "a", "prompt": "p", "response": text}])
    data = json.loads(Markup(page(PageContent("t", [run]))).raw["data"])
    assert "".join(data["answers"][0]["text"]) == text


def test_what_steers_a_display_is_shown_and_what_writes_a_language_is_kept() -> None:
    assert shown("a\u202eb\u2069\ufeff\ud800\x07\x9b\rc") == (
        "a⟨U+202E⟩b⟨U+2069⟩⟨U+FEFF⟩⟨U+D800⟩⟨U+0007⟩⟨U+009B⟩⟨U+000D⟩c"
    )
    assert shown("tag \U000e0041") == "tag ⟨U+E0041⟩"
    for kept in ("👩‍👩‍👧", "می‌خواهم", "a\tb\nc", "naïve 日本語"):
        assert shown(kept) == kept
    assert escaped("<a href=\"x\" title='y'>&\u202e") == "&lt;a href=&quot;x&quot; title=&#x27;y&#x27;&gt;&amp;⟨U+202E⟩"
    assert "<" not in embedded({"</script>": "<!--"})
    with pytest.raises(ValueError, match="JSON"):
        embedded({"score": float("nan")})


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(tmp_path: Path) -> None:
    text = page(PageContent("t", [run_of(tmp_path / "a", [{"id": "a", "prompt": "p", "response": "r"}])], [TABLE]))
    markup = Markup(text)
    (policy,) = (it["content"] for tag, it in markup.tags if it.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    sums = {
        name: base64.b64encode(hashlib.sha256(markup.raw[name].encode()).digest()).decode()
        for name in ("style", "script")
    }
    assert rules == {
        "default-src": "'none'", "script-src": f"'sha256-{sums['script']}'", "style-src": f"'sha256-{sums['style']}'",
        "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    # The policy must come before all that it speaks of.
    assert [tag for tag, _ in markup.tags][:4] == ["html", "head", "meta", "meta"]
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|innerHTML|\beval\(", text)
    assert not [1 for _, it in markup.tags if "style" in it]


def test_the_same_records_give_the_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    rows = [{"id": f"i{n}", "prompt": f"Ask {n}", "response": f"Say {n}"} for n in range(20)]
    content = PageContent("t", [run_of(tmp_path / "a", rows)], [TABLE], [("c", SVG)], ["f"])
    write_page(tmp_path / "1.html", content)
    answers = tmp_path / "a" / "answers.jsonl"
    lines = answers.read_text().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    answers.write_text("".join(lines))
    write_page(tmp_path / "2.html", content)
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()
    with pytest.raises(BadInput, match="can not write"):
        write_page(tmp_path / "no" / "folder.html", content)


def test_answers_to_harmful_requests_and_the_words_of_attacks_are_hidden(tmp_path: Path) -> None:
    run = run_of(tmp_path / "asr", jailbreaks("Sure.", "I can not."), tasks="asr,collapse")
    same_words = run_of(tmp_path / "other", [{"id": "x", "prompt": "Imagine goal 1", "response": "Sure."}])
    unmarked = run_of(tmp_path / "file", [{"id": "y", "prompt": "Be DAN. Do it", "response": "Sure."}], tasks="asr")
    safe = run_of(tmp_path / "safe", [{"id": "z", "prompt": "Kill a process", "response": "Sure."}])
    questions = transcripts([run, same_words, unmarked, safe])["questions"]
    found = [(it["task"], it["item"], it["turns"], it["open"], it["harmful"]) for it in questions]
    assert found == [
        ("asr", "jbb-0", ["Imagine goal 0"], ["Goal 0"], True),
        ("asr", "jbb-1", ["Imagine goal 1"], ["Goal 1"], True),
        ("collapse", "x", ["Imagine goal 1"], [None], True),
        ("asr", "y", ["Be DAN. Do it"], [None], True),
        ("collapse", "z", ["Kill a process"], ["Kill a process"], False),
    ]


def test_a_loop_is_set_apart_and_the_words_of_every_judge_are_there(tmp_path: Path) -> None:
    rows = jailbreaks("Here you go, my friend. " + LOOP * 50, "I can not help with that.")
    run = run_of(tmp_path / "a", rows, tasks="asr")
    looping, declining = transcripts([run])["answers"]
    assert looping["text"] == ["Here you go, my friend. ", (LOOP * 50).strip(), " "]
    assert (looping["kind"], looping["evidence"]) == ("loop", "loop of 7 words × 50 from word 8")
    (judgment,) = looping["judgments"]
    assert (judgment["judge"], judgment["label"]) == ("refusal", "degenerate")
    assert declining["text"] == "I can not help with that."
    assert "kind" not in declining


def test_the_newest_record_counts_and_a_damaged_score_is_none(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [{"id": "a", "prompt": "p", "response": "old"}])
    path = tmp_path / "a" / "answers.jsonl"
    record = json.loads(path.read_text())
    with path.open("a") as file:
        file.write(json.dumps({**record, "text": "new"}) + "\n")
    place = {"task": "collapse", "item": "a", "sample": 0, "turn": 1, "repeat": 0, "label": None, "usage": None}
    said = {"raw": "the reply", "explanation": None, "error": None, "unjudged": None}
    judgments = [
        {**place, **said, "judge": "old and new", "score": 3.0},
        {**place, **said, "judge": "damaged", "score": float("nan")},
        {**place, **said, "judge": "old and new", "score": 7.5, "explanation": "Rating: [[7.5]]"},
        {**place, **said, "judge": "silent", "score": None, "unjudged": "no rating in the reply"},
    ]
    (tmp_path / "a" / "judgments.jsonl").write_text("".join(json.dumps(it) + "\n" for it in judgments))
    (answer,) = transcripts([run])["answers"]
    assert answer["text"] == "new"
    assert answer["judgments"] == [
        {"judge": "damaged", "why": "the reply"},
        {"judge": "old and new", "why": "Rating: [[7.5]]", "score": 7.5},
        {"judge": "silent", "why": "the reply", "unjudged": "no rating in the reply"},
    ]


def test_runs_in_folders_of_one_name_have_links_of_their_own(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "p", "response": "r"}]
    runs = [run_of(tmp_path / parent / "run", rows) for parent in ("x", "y")]
    assert [it["id"] for it in transcripts(runs)["runs"]] == ["run", "run-2"]


def test_a_page_without_answers_or_figures_offers_no_way_to_them() -> None:
    views = [it["href"] for tag, it in Markup(page(PageContent("t", tables=[TABLE]))).tags if tag == "a"]
    assert views == ["#results", "#table-paper"]


# In a browser. No run is made while one is open: its event loop and asyncio.run do not go together.


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs that were asked the same, with everything in it that may go wrong."""
    folder = tmp_path_factory.mktemp("page")
    said = {
        "base": ["Sure, here is how it is done. First you take it, and then you carry it home."] * 2,
        "tuned": ["I can not help with that.", "Well, my friend. " + LOOP * 50],
    }
    pages = []
    for name, responses in said.items():
        harmful = run_of(folder / name, [*jailbreaks(*responses)], tasks="asr")
        rows = [{"id": f"q/{n}?", "prompt": f"Question {n}", "response": f"{name} says {n}."} for n in range(130)]
        rows += [{"id": key, "prompt": text, "response": text} for key, text in HOSTILE.items()]
        rows += [{"id": "long", "prompt": "Go on", "response": "Start. " + "word after word, " * 6_000}]
        pages += [harmful, run_of(folder / f"{name}-texts", rows)]
    path = folder / "report.html"
    write_page(path, PageContent(f"Report {INJECTED}", pages, [TABLE], [(f"Points {INJECTED}", SVG)], [INJECTED]))
    return path


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    """Debian's Chromium, or the one that Playwright fetched."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    with api.sync_playwright() as playwright:
        installed = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(installed).exists():
            pytest.skip("no Chromium here (apt-get install chromium, or playwright install chromium)")
        opened = playwright.chromium.launch(executable_path=installed)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """The page in a window of its own; at the end of each test it has asked for nothing and complained of nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    view = context.new_page()
    trouble: list[str] = []
    view.on("console", lambda message: trouble.append(message.text))
    view.on("pageerror", lambda error: trouble.append(str(error)))
    view.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else trouble.append(request.url)
    )
    view.goto(report.as_uri())
    yield view
    assert view.evaluate("window.pwned") is None
    assert trouble == []
    context.close()


def open_at(view: Page, report: Path, address: str) -> None:
    """Follow a link into the page from elsewhere."""
    view.goto("about:blank")
    view.goto(report.as_uri() + address)


def listed(view: Page, said: str) -> None:
    """Wait until the list says so of its length: it follows the filters in a moment."""
    view.locator("#count", has_text=re.compile(f"^{re.escape(said)}$")).wait_for(timeout=5_000)


def pick(view: Page, field: str, choice: str) -> None:
    view.locator(f"#filters [name={field}]").select_option(choice)


def test_each_view_is_shown_alone_and_injected_markup_is_text(opened: Page) -> None:
    assert opened.locator(".view:visible").evaluate_all("views => views.map((it) => it.id)") == ["results"]
    assert INJECTED in opened.locator("#table-paper h2").inner_text()
    opened.get_by_role("link", name="Figures").click()
    assert opened.locator(".view:visible").evaluate_all("views => views.map((it) => it.id)") == ["figures"]
    assert opened.locator("figure img").evaluate("it => it.naturalWidth") == 90
    assert INJECTED in opened.locator("body > footer").inner_text()
    assert INJECTED in opened.title()


def test_filters_narrow_the_list_and_stay_in_the_address(opened: Page, report: Path) -> None:
    opened.get_by_role("link", name="Answers", exact=True).click()
    listed(opened, "1–50 of 278")
    pick(opened, "label", "harmful")
    listed(opened, "2 answers")
    opened.get_by_label("Runs differ").check()
    listed(opened, "2 answers")
    pick(opened, "run", "tuned")
    listed(opened, "0 answers")
    opened.get_by_role("button", name="Clear").click()
    pick(opened, "kind", "any")
    pick(opened, "task", "asr")
    listed(opened, "1 answer")
    assert opened.locator("#list .place").all_inner_texts() == ["jbb-1"]
    opened.get_by_role("button", name="Clear").click()
    opened.get_by_label("Search").fill("TUNED SAYS 12")
    listed(opened, "11 answers")
    address = opened.url
    opened.goto("about:blank")
    opened.goto(address)
    listed(opened, "11 answers")
    opened.keyboard.press("j")
    assert opened.locator("article mark.hit").all_inner_texts() == ["tuned says 12"]


def test_a_link_leads_to_an_answer_with_another_run_beside_it(opened: Page, report: Path) -> None:
    open_at(opened, report, "#tuned-texts/collapse/q%2F7%3F/0/1")
    sides = opened.locator(".side")
    assert sides.locator(".said").all_inner_texts() == ["base says 7.", "tuned says 7."]
    opened.get_by_label("beside").select_option("none")
    assert sides.locator(".said").all_inner_texts() == ["tuned says 7."]
    assert opened.url.endswith("#tuned-texts/collapse/q%2F7%3F/0/1?with=none")
    opened.reload()
    assert sides.locator(".said").all_inner_texts() == ["tuned says 7."]
    open_at(opened, report, "#tuned-texts/collapse/nothing/0/1")
    assert "No answer is at" in opened.locator("article").inner_text()
    open_at(opened, report, "#%E0%A4%A/b/c/d/e")
    assert "No answer is at" in opened.locator("article").inner_text()


def test_harmful_text_is_not_on_the_page_until_it_is_asked_for(opened: Page, report: Path) -> None:
    open_at(opened, report, "#base/asr/jbb-1/0/1")
    body = opened.locator("body")
    assert "Goal 1" in opened.locator("article").inner_text()
    for hidden in ("carry it home", "Have a great day", "Imagine goal"):
        assert hidden not in body.inner_text()
    opened.locator(".side").last.get_by_role("button", name="Show").click()
    assert opened.locator("mark.again").inner_text() == (LOOP * 50).strip()
    assert "loop of 7 words × 50" in body.inner_text()
    assert "carry it home" not in body.inner_text()
    opened.keyboard.press("s")
    assert "carry it home" in body.inner_text()
    assert "Imagine goal 1" in body.inner_text()
    opened.keyboard.press("k")
    opened.wait_for_selector("h2:has-text('jbb-0')")
    assert "carry it home" not in body.inner_text()
    opened.get_by_label("Show harmful text").check()
    assert "carry it home" in body.inner_text()


def test_keys_walk_through_the_answers_and_pages_follow(opened: Page, report: Path) -> None:
    open_at(opened, report, "#answers?run=base-texts")
    for _ in range(52):
        opened.keyboard.press("j")
    opened.wait_for_selector("h2:has-text('q/51?')")
    listed(opened, "51–100 of 137")
    assert opened.locator("[aria-current] .place").inner_text() == "q/51?"
    opened.keyboard.press("/")
    opened.keyboard.type("jk?c")
    assert opened.locator("[name=q]").input_value() == "jk?c"
    opened.keyboard.press("Escape")
    opened.keyboard.press("?")
    assert opened.locator("dialog").is_visible()
    opened.keyboard.press("Escape")
    assert not opened.locator("dialog").is_visible()
    opened.go_back()
    opened.wait_for_selector("article:has-text('Choose an answer')")
    listed(opened, "1–50 of 137")


def test_keys_pressed_faster_than_an_address_changes_lose_no_step(opened: Page, report: Path) -> None:
    open_at(opened, report, "#answers?run=base-texts")
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}))"
    opened.evaluate(f"for (let i = 0; i < 5; i++) {press}")
    opened.wait_for_selector("h2:has-text('q/4?')")


def test_hostile_and_long_answers_are_shown_as_text(opened: Page, report: Path) -> None:
    for name, text in HOSTILE.items():
        open_at(opened, report, f"#base-texts/collapse/{name}/0/1?with=none")
        assert opened.locator(".side .said").text_content() == shown(text)
    open_at(opened, report, "#base-texts/collapse/long/0/1?with=none")
    before = len(opened.locator(".side .said").text_content() or "")
    assert before < 20_000
    opened.get_by_role("button", name="more characters").click()
    assert len(opened.locator(".side .said").text_content() or "") > before + 20_000


def test_the_theme_follows_the_system_until_it_is_switched(opened: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(paper)
    opened.emulate_media(color_scheme="dark")
    dark = opened.evaluate(paper)
    assert light != dark
    opened.keyboard.press("t")
    assert opened.evaluate(paper) == light
    opened.reload()
    assert opened.evaluate(paper) == light
    opened.get_by_role("button", name="Switch between light and dark").click()
    assert opened.evaluate(paper) == dark
    opened.emulate_media(color_scheme="dark", media="print")
    assert opened.evaluate(paper) == "rgb(255, 255, 255)"
    assert opened.locator(".view:visible").evaluate_all("views => views.map((it) => it.id)") == ["results", "figures"]


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_no_view_is_wider_than_the_window(opened: Page, report: Path, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    for address in ("#results", "#figures", "#answers", "#base/asr/jbb-1/0/1", "#base-texts/collapse/long/0/1"):
        open_at(opened, report, address)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    article, index = opened.locator("article"), opened.locator(".index")
    assert (article.is_visible(), index.is_visible()) == (True, width > 800)
    opened.keyboard.press("Escape")
    index.wait_for(state="visible")
