/* Small parts that every view shows alike: health, status, figures in a strip, problems, notes, waiting. */

import { fill, h, put } from "../dom.js";
import * as words from "../words.js";

const SIGNS = { healthy: "●", warning: "▲", liquidation: "■", unknown: "?", stale: "◌" };

/** A status as a sign, a colour and a word, so that none of the three is needed alone. */
export function status(name) {
  const known = name in SIGNS ? name : "unknown";
  return h("span", { class: `status ${known}` }, h("span", { "aria-hidden": "true" }, SIGNS[known], " "),
    words.STATUS_WORDS[known]);
}

/** The status of an account at its prices; at old prices none is called healthy. */
export const statusAt = (name, stale) => status(stale && name === "healthy" ? "stale" : name);

/** The margin ratio as a bar that is full at liquidation; where there is no ratio the status alone fills it or not. */
export function health(ratio, state) {
  const bar = h("span", { class: `health ${state}` }, h("span", { class: "fill" }));
  const share = ratio === null || ratio === undefined ? (state === "liquidation" ? 1 : 0) : Number(ratio);
  bar.firstChild.style.inlineSize = `${Math.min(100, Math.max(0, share * 100))}%`;
  const said = ratio === null || ratio === undefined ? words.STATUS_WORDS[state] ?? words.UNKNOWN : words.percent(ratio);
  return h("span", { class: "ratio", role: "meter", "aria-label": "margin ratio", "aria-valuemin": "0",
    "aria-valuemax": "1", "aria-valuenow": Math.min(1, Math.max(0, share)), "aria-valuetext": said,
    title: ratio ?? "no ratio: equity is not above zero, or not known" }, bar, h("span", { class: "said" }, said));
}

/** A strip of named figures: [{name, text, exact, kind}]. */
export function strip(cells) {
  return h("dl", { class: "strip" }, cells.map((cell) => h("div", { class: cell.kind },
    h("dt", {}, cell.name), h("dd", { title: cell.exact ?? null }, cell.text))));
}

/** What was refused: the title, then every fault with its path, the value given and the remedy. */
export function problem(error) {
  const faults = error.faults ?? [];
  return h("div", { class: "problem", role: "alert" }, h("strong", {}, error.title ?? "Something failed"),
    faults.length === 0 && h("p", {}, error.message), // the message only strings the faults together
    faults.length > 0 && h("ul", {}, faults.map((fault) => h("li", {}, h("code", {}, fault.path),
      fault.value ? h("span", { class: "dim" }, ` given ${fault.value}`) : null, " – ", fault.why))));
}

const ASSUMED = "assumed, not documented: ";

/** Notes of an answer: assumptions and limits, as the service says them; rules that are assumed one by one. */
export function notes(list) {
  return list?.length ? h("ul", { class: "notes" }, [...new Set(list)].map((note) => h("li", {}, note.startsWith(ASSUMED)
    ? assumed(note.slice(ASSUMED.length).split("; ")) : words.wordy(note)))) : null;
}

function assumed(rules) {
  if (rules.length === 1) return `${ASSUMED}${words.wordy(rules[0])}`;
  return h("details", {}, h("summary", {}, `${rules.length} rules are assumed, not documented`),
    h("ul", {}, rules.map((rule) => h("li", {}, words.wordy(rule)))));
}

/** Fills a place with what a promise brings: a word while it waits, its problem if it fails. */
export async function waiting(place, work, { quiet = false } = {}) {
  if (!quiet) fill(place, h("p", { class: "dim wait" }, "asking …"));
  place.setAttribute("aria-busy", "true");
  try {
    const found = await work();
    fill(place, found);
    return found;
  } catch (error) {
    if (error.name !== "AbortError") fill(place, problem(error));
    return null;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** A moment as its age, which the page keeps counting; the exact time is in the title. */
export function aged(moment) {
  return h("time", { class: "age", datetime: moment, title: moment, data: { moment } }, words.age(moment));
}

/** Counts every age in the page on. */
export function tick() {
  for (const shown of document.querySelectorAll("time.age")) {
    const said = words.age(shown.dataset.moment);
    if (shown.textContent !== said) shown.textContent = said;
  }
}

/** A section with its heading. */
export function section(title, ...children) {
  return put(h("section", { class: "card" }, h("h2", {}, title)), ...children);
}

/** Each pool's figures, one line a pool. */
export function verdict(text, state) {
  return h("p", { class: `verdict ${state}`, role: "status", "aria-live": "polite" }, text);
}
