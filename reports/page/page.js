"use strict";
/* Shows one of three views (tables, figures, answers) and finds, lists and compares answers.

   All state that can be linked to is in the address: #results, #figures, #table-NAME, #answers?q=…&label=…, and
   #RUN/TASK/ITEM/SAMPLE/TURN?… for an answer. Text of models and files goes into the page as text nodes only. */

const PAGE = 50; // answers a page of the list
const CLIP = 12000; // characters of a text that are shown before somebody asks for the rest
const CLIP_AGAIN = 1500; // and of the part that repeats itself
const MORE = 40000; // characters that are shown then, at each click
const NO_LABEL = "no verdict";

const ENDED = { length: "cut at the token limit", error: "not generated", missing: "no reply was recorded", filtered: "stopped by a filter" };

const size = (text) => `${text.length.toLocaleString("en")} characters`;
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const views = [...document.querySelectorAll(".view")];
const filters = byId("filters");
const article = byId("answer");

/* ---- the answers, with what the filters ask of them ---- */

data.answers.forEach((answer) => {
  answer.asked = data.questions[answer.question];
  answer.parts = typeof answer.text === "string" ? [answer.text] : answer.text;
  const scores = answer.judgments.filter((it) => it.score !== undefined).map((it) => it.score);
  answer.scores = scores;
  answer.score = scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : null;
  answer.labels = [...new Set(answer.judgments.filter((it) => it.label !== undefined).map((it) => it.label))];
  if (answer.judgments.some((it) => it.label === undefined && it.score === undefined)) answer.labels.push(NO_LABEL);
});

const slot = (answer, run) => [run, answer.asked.task, answer.asked.item, answer.sample, answer.turn].join("\n");
const bySlot = new Map(data.answers.map((answer) => [slot(answer, answer.run), answer]));
const otherRuns = (answer) => data.runs.map((_, run) => run).filter((run) => run !== answer.run && bySlot.has(slot(answer, run)));
const verdict = (answer) => (answer.labels.length ? [...answer.labels].sort().join("\n") : String(answer.score));
const differs = (answer) => otherRuns(answer).some((run) => verdict(bySlot.get(slot(answer, run))) !== verdict(answer));

function haystack(answer) {
  if (answer.haystack === undefined) {
    const words = answer.judgments.map((it) => [it.why, it.unjudged, it.error].join("\n"));
    answer.haystack = [answer.asked.item, ...answer.asked.turns, answer.parts.join(""), ...words].join("\n").toLowerCase();
  }
  return answer.haystack;
}

function matching(wanted) {
  const needle = wanted.q?.toLowerCase();
  const low = wanted.low === undefined ? -Infinity : Number(wanted.low);
  const high = wanted.high === undefined ? Infinity : Number(wanted.high);
  const ranged = wanted.low !== undefined || wanted.high !== undefined;
  const run = wanted.run === undefined ? -1 : data.runs.findIndex((it) => it.id === wanted.run);
  return data.answers.filter(
    (answer) =>
      (wanted.run === undefined || answer.run === run) &&
      (wanted.task === undefined || answer.asked.task === wanted.task) &&
      (wanted.category === undefined || answer.asked.category === wanted.category) &&
      (wanted.label === undefined || answer.labels.includes(wanted.label)) &&
      (wanted.kind === undefined || (wanted.kind === "any" ? answer.kind : answer.kind === wanted.kind)) &&
      (!ranged || answer.scores.some((score) => score >= low && score <= high)) &&
      (wanted.differs === undefined || differs(answer)) &&
      (!needle || haystack(answer).includes(needle)),
  );
}

/* ---- the address ---- */

function parsed(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").map(decoded);
  const params = Object.fromEntries(new URLSearchParams(query));
  if (parts.length !== 5) return { anchor: parts[0], params };
  const run = data.runs.findIndex((it) => it.id === parts[0]);
  return { anchor: "answers", params, answer: bySlot.get([run, ...parts.slice(1)].join("\n")), missing: parts.join(" / ") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody's broken link
  }
}

function address(answer, params) {
  const { task, item } = answer ? answer.asked : {};
  const path = answer
    ? [data.runs[answer.run].id, task, item, answer.sample, answer.turn].map(encodeURIComponent).join("/")
    : "answers";
  const query = new URLSearchParams(params).toString();
  return `#${path}${query && "?"}${query}`;
}

/* ---- making nodes ---- */

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Text with the words that were searched for marked in it. */
function marked(text, query) {
  const nodes = document.createDocumentFragment();
  const needle = query?.toLowerCase();
  const low = needle ? text.toLowerCase() : "";
  let from = 0;
  // A few letters change their length in lower case: then nothing is marked rather than the wrong place.
  if (needle && low.length === text.length) {
    for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, from)) {
      nodes.append(text.slice(from, at), make("mark", { className: "hit" }, text.slice(at, at + needle.length)));
      from = at + needle.length;
    }
  }
  nodes.append(text.slice(from));
  return nodes;
}

/** The first `limit` characters of a text, and a button for more of it: a browser takes long over a million at once. */
function clipped(text, limit, query) {
  const nodes = document.createDocumentFragment();
  if (text.length <= limit * 1.2) {
    nodes.append(marked(text, query));
    return nodes;
  }
  const at = /[\udc00-\udfff]/.test(text[limit]) ? limit + 1 : limit; // not within a pair
  const left = `${(text.length - at).toLocaleString("en")} more characters`;
  const more = make("button", { type: "button", className: "more" }, left);
  more.addEventListener("click", () => more.replaceWith(clipped(text.slice(at), MORE, query)));
  nodes.append(marked(text.slice(0, at), query), more);
  return nodes;
}

/** What `build` makes, behind a button that says what it is; at once where the reader asked for that. */
function shielded(what, build) {
  const box = make("div", { className: "shield" });
  if (byId("reveal").checked) return build();
  const button = make("button", { type: "button", className: "reveal" }, make("b", {}, "Show"), ` ${what}`);
  button.addEventListener("click", () => box.replaceWith(build()));
  box.append(button);
  return box;
}

/* ---- the list ---- */

let found = [];
let first = 0;
let current = null;
let params = {};

function chips(answer) {
  const box = make("span", { className: "chips" });
  for (const label of answer.labels) box.append(make("span", { className: `chip ${tone(label)}` }, label));
  if (answer.score !== null) box.append(make("span", { className: "score" }, answer.score.toFixed(1)));
  if (answer.kind && !answer.labels.includes("degenerate")) box.append(make("span", { className: "chip kind" }, answer.kind));
  return box;
}

function tone(label) {
  const known = ["harmful", "partial", "refused", "degenerate", "other"];
  return known.includes(label) ? label : label === NO_LABEL ? "none" : "plain";
}

function asked(question, turn) {
  return question.open[turn - 1] ?? (question.harmful ? "(a request that is hidden)" : "");
}

function place(answer) {
  const parts = [answer.asked.item];
  if (answer.sample) parts.push(`sample ${answer.sample + 1}`);
  if (answer.asked.turns.length > 1) parts.push(`turn ${answer.turn}`);
  return parts.join(" · ");
}

function row(answer) {
  const link = make(
    "a",
    { href: address(answer, params) },
    make("span", { className: "where" }, make("span", { className: "place" }, place(answer)), chips(answer)),
    make("span", { className: "asked", dir: "auto" }, asked(answer.asked, answer.turn).slice(0, 200)),
  );
  if (data.runs.length > 1) link.append(make("span", { className: "run" }, data.runs[answer.run].id));
  if (answer === current) link.setAttribute("aria-current", "true");
  return make("li", {}, link);
}

function showList() {
  const shown = found.slice(first, first + PAGE);
  const last = first + shown.length;
  const of = found.length.toLocaleString("en");
  byId("count").textContent = found.length > PAGE ? `${(first + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${of}` : found.length === 1 ? "1 answer" : `${of} answers`;
  byId("back").disabled = first === 0;
  byId("forth").disabled = last >= found.length;
  byId("list").replaceChildren(...shown.map(row));
  if (!found.length) byId("list").append(make("li", { className: "empty" }, "No answer is like that. Clear the filters to see all."));
  scrollToCurrent(byId("list"));
}

/** Only within the list: scrollIntoView would move the page as well. */
function scrollToCurrent(list) {
  const row = list.querySelector("[aria-current]")?.getBoundingClientRect();
  const box = list.getBoundingClientRect();
  if (row && (row.top < box.top || row.bottom > box.bottom)) list.scrollTop += row.top - box.top - box.height / 3;
}

function turnPage(by) {
  first = Math.max(0, Math.min(first + by * PAGE, Math.floor((found.length - 1) / PAGE) * PAGE));
  showList();
  byId("list").scrollTop = 0;
}

function search() {
  found = matching(params);
  const at = found.indexOf(current);
  first = at < 0 ? 0 : Math.floor(at / PAGE) * PAGE;
}

/* ---- an answer, and another run's beside it ---- */

function showAnswer() {
  byId("answers").classList.toggle("open", current !== null);
  if (!current) {
    article.replaceChildren(make("p", { className: "empty" }, "Choose an answer, or press ", make("kbd", {}, "j"), " for the first."));
    return;
  }
  const others = otherRuns(current);
  const chosen = params.with === "none" ? undefined : data.runs.findIndex((it) => it.id === params.with);
  const other = chosen === undefined ? undefined : others.includes(chosen) ? chosen : others[0];
  const runs = [current.run, ...(other === undefined ? [] : [other])].sort((a, b) => a - b);
  const question = current.asked;
  const turns = Math.max(question.turns.length, current.turn);
  const nodes = [heading(question), choices(others, other)];
  for (let turn = 1; turn <= turns; turn += 1) {
    const sides = runs.map((run) => bySlot.get(slot({ ...current, turn }, run)));
    if (sides.some(Boolean)) nodes.push(exchange(sides, runs, turn, turns));
  }
  article.replaceChildren(...nodes);
}

function heading(question) {
  const tags = [question.task, question.category, question.attack].filter(Boolean).join(" · ");
  return make("header", {}, make("p", { className: "tags" }, tags), make("h2", {}, question.item, current.sample ? ` · sample ${current.sample + 1}` : ""));
}

function choices(others, other) {
  const at = found.indexOf(current);
  const close = make("button", { type: "button", className: "close" }, "‹ All answers");
  close.addEventListener("click", () => go(null));
  const before = make("button", { type: "button", disabled: at <= 0 }, "‹ Before");
  const next = make("button", { type: "button", disabled: at < 0 || at >= found.length - 1 }, "Next ›");
  before.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  const bar = make("div", { className: "bar" }, close, before, next);
  if (others.length) {
    const select = make("select", { id: "with" }, make("option", { value: "none" }, "no other run"));
    for (const run of others) select.append(make("option", { value: data.runs[run].id }, data.runs[run].id));
    select.value = other === undefined ? "none" : data.runs[other].id;
    select.addEventListener("change", () => beside(select.value));
    bar.append(make("label", {}, make("span", {}, "beside"), select));
  }
  return bar;
}

function beside(run) {
  params = { ...params, with: run };
  go(current, true);
}

/** One turn: what was asked, once as far as all sides were asked the same, and the answer of each side. */
function exchange(sides, runs, turn, turns) {
  const [one, ...rest] = sides.filter(Boolean);
  const alike = (texts) => rest.every((answer) => answer.asked[texts][turn - 1] === one.asked[texts][turn - 1]);
  const [sameWords, sameGoal] = [alike("turns"), alike("open")];
  const box = make("section", { className: `turn${turns > 1 && turn === current.turn ? " this" : ""}` });
  if (turns > 1) box.append(make("h3", {}, `Turn ${turn}`));
  const common = sameGoal && prompt(one.asked, turn, true, sameWords);
  if (common) box.append(common);
  const columns = make("div", { className: `sides n${runs.length}` });
  const own = (answer) => (sameGoal && sameWords ? null : prompt(answer.asked, turn, !sameGoal, true));
  sides.forEach((answer, at) => columns.append(answer ? side(answer, own(answer)) : absent(runs[at])));
  box.append(columns);
  return box;
}

function absent(run) {
  return make("div", { className: "side" }, make("h4", {}, data.runs[run].id), make("p", { className: "empty" }, "no answer"));
}

/** What was asked: what of it is open, and the words it was put in where those are hidden. */
function prompt(question, turn, showsOpen, showsWords) {
  const whole = question.turns[turn - 1] ?? "";
  const open = question.open[turn - 1] ?? null;
  const text = (said) => make("div", { className: "said", dir: "auto" }, clipped(said, CLIP, params.q));
  const box = make("div", { className: "prompt" });
  if (open !== null && showsOpen) box.append(text(open));
  if (open !== whole && whole && showsWords) box.append(shielded(`the prompt as it was put (${size(whole)})`, () => text(whole)));
  return box.hasChildNodes() ? box : null;
}

function side(answer, asked) {
  const run = data.runs[answer.run];
  const model = run.model && run.model !== run.id ? make("span", { className: "model" }, run.model) : null;
  const link = make("a", { className: "link", href: address(answer, {}), title: "Link to this answer" }, "#");
  const box = make("div", { className: "side" }, make("h4", {}, run.id, model, link), chips(answer));
  if (asked) box.append(asked);
  const whole = answer.parts.join("");
  const body = () => {
    const told = make("div", { className: "told" }, answerText(answer, whole));
    told.append(...answer.judgments.map(judgment));
    return told;
  };
  const hides = answer.asked.harmful && (whole.trim() || answer.judgments.some((it) => it.why));
  box.append(hides ? shielded(`this answer to a harmful request (${size(whole)})`, body) : body());
  return box;
}

function answerText(answer, whole) {
  const box = make("div", {});
  const notes = [answer.evidence, data.kinds[answer.kind] && !answer.evidence ? `one of the answers that ${data.kinds[answer.kind]}` : null];
  if (answer.finish) notes.push(ENDED[answer.finish] ?? answer.finish);
  if (answer.tokens !== undefined) notes.push(`${answer.tokens.toLocaleString("en")} tokens`);
  if (answer.error) notes.push(answer.error);
  const said = make("div", { className: "said", dir: "auto" });
  if (!whole.trim()) said.append(make("span", { className: "empty" }, whole ? "nothing but blanks" : "nothing"));
  else if (answer.parts.length === 1) said.append(clipped(whole, CLIP, params.q));
  else {
    const [before, again, after] = answer.parts;
    const mark = make("mark", { className: "again", title: answer.evidence ?? "" }, clipped(again, CLIP_AGAIN, params.q));
    said.append(clipped(before, CLIP, params.q), mark, clipped(after, CLIP, params.q));
  }
  box.append(said);
  if (notes.some(Boolean)) box.append(make("p", { className: "notes" }, notes.filter(Boolean).join(" · ")));
  return box;
}

function judgment(it) {
  const word = it.label ?? (it.score === undefined ? NO_LABEL : Number(it.score.toFixed(2)).toString());
  const name = it.repeat ? `${it.judge}, again (${it.repeat + 1})` : it.judge;
  const box = make("div", { className: "judgment" }, make("p", { className: "by" }, make("b", {}, name), " ", make("span", { className: `chip ${it.score === undefined ? tone(word) : "plain"}` }, word)));
  const reasons = [it.unjudged, it.error].filter(Boolean).join("; ");
  if (reasons) box.append(make("p", { className: "notes" }, reasons));
  if (it.why) box.append(make("div", { className: "why", dir: "auto" }, clipped(it.why, 2000, params.q)));
  return box;
}

/* ---- moving about ---- */

/** Show an answer (or the list, for null) and say so in the address. */
function go(answer, replacing = false) {
  // Shown at once: an address that is set is told later, and the next key would start from where we were.
  history[replacing ? "replaceState" : "pushState"](null, "", address(answer, params));
  route();
}

function step(by) {
  if (!found.length) return;
  const at = found.indexOf(current);
  const to = at < 0 ? first : at + by;
  if (to >= 0 && to < found.length) go(found[to], at >= 0);
}

function route() {
  const asked = parsed(location.hash);
  const target = asked.anchor ? byId(asked.anchor) : null;
  const view = target?.closest(".view") ?? views.find((it) => byId("views").querySelector(`[href="#${it.id}"]`)) ?? views[0];
  const changed = view.hidden;
  views.forEach((it) => (it.hidden = it !== view));
  byId("views").querySelectorAll("a").forEach((link) => link.toggleAttribute("data-here", link.hash === `#${view.id}`));
  if (view.id !== "answers") {
    if (target === view) scrollTo(0, 0);
    else target?.scrollIntoView();
    return;
  }
  const moved = current !== (asked.answer ?? null);
  params = asked.params;
  current = asked.answer ?? null;
  fillForm();
  search();
  showList();
  showAnswer();
  if (asked.missing && !current) article.replaceChildren(make("p", { className: "empty" }, `No answer is at ${asked.missing}.`));
  if (changed || moved) arrive();
}

/** Bring what was linked to below the header, without moving what can be seen already. */
function arrive() {
  const turn = article.querySelector(".turn.this");
  if (turn && current.turn > 1) turn.scrollIntoView();
  else if (current && (article.getBoundingClientRect().top < 0 || innerWidth < 800)) article.scrollIntoView();
}

function fillForm() {
  for (const field of filters.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") field.checked = params[field.name] !== undefined;
    else if (document.activeElement !== field) field.value = params[field.name] ?? "";
  }
}

function readForm() {
  const wanted = Object.fromEntries([...new FormData(filters)].filter(([, value]) => value !== ""));
  params = { ...wanted, ...(params.with === undefined ? {} : { with: params.with }) };
  go(current, true);
}

function options(name, all, counts) {
  const select = filters.elements[name];
  select.append(make("option", { value: "" }, all), ...counts.map(([value, text]) => make("option", { value }, text)));
  select.closest("label").hidden = counts.length < (["label", "kind"].includes(name) ? 1 : 2);
}

function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, n]) => [value, `${value} (${n.toLocaleString("en")})`]);
}

function switchTheme() {
  const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  remembered(root.dataset.theme);
}

/** The theme that was chosen before; kept first, if one is given. A browser may keep nothing for files. */
function remembered(theme) {
  try {
    if (theme) localStorage.setItem("bench-theme", theme);
    return localStorage.getItem("bench-theme");
  } catch {
    return null;
  }
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (current) go(null);
    return;
  }
  if (typing) return;
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => {
      if (byId("answers").hidden) go(current);
      filters.elements.q.focus();
    },
    c: () => byId("with") && beside(byId("with").options[(byId("with").selectedIndex + 1) % byId("with").options.length].value),
    s: () => article.querySelectorAll("button.reveal").forEach((button) => button.click()),
    t: switchTheme,
    "?": () => byId("help").showModal(),
  };
  if (!keys[event.key] || (byId("answers").hidden && "jkcs".includes(event.key))) return;
  event.preventDefault();
  keys[event.key]();
}

if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
options("run", "all", data.runs.map((run) => [run.id, run.model && run.model !== run.id ? `${run.id} (${run.model})` : run.id]));
options("task", "all", counted(data.answers.map((answer) => answer.asked.task)));
options("category", "all", counted(data.answers.map((answer) => answer.asked.category).filter(Boolean)));
options("label", "all", counted(data.answers.flatMap((answer) => answer.labels)));
const kinds = counted(data.answers.map((answer) => answer.kind).filter(Boolean));
options("kind", "all", kinds.length > 1 ? [["any", "anything wrong"], ...kinds] : kinds);
filters.querySelector(".range").hidden = !data.answers.some((answer) => answer.score !== null);
filters.elements.differs.closest("label").hidden = data.runs.length < 2;
byId("reveal").closest("label").hidden = !data.questions.some((question) => question.harmful);

let waiting = 0;
filters.addEventListener("input", (event) => {
  clearTimeout(waiting);
  if (event.target === byId("reveal")) showAnswer();
  else waiting = setTimeout(readForm, event.target.name === "q" ? 150 : 0);
});
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", (event) => {
  event.preventDefault();
  params = params.with === undefined ? {} : { with: params.with };
  document.activeElement?.blur();
  go(current, true);
});
byId("back").addEventListener("click", () => turnPage(-1));
byId("forth").addEventListener("click", () => turnPage(1));
byId("theme").addEventListener("click", switchTheme);
byId("keys").addEventListener("click", () => byId("help").showModal());
addEventListener("keydown", pressed);
addEventListener("hashchange", route);
root.classList.add("live");
route();
