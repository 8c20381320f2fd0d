/* Where does this account stand, what kills it, and why? One account, a tab for each question. */

import * as api from "../api.js";
import { button, fill, h } from "../dom.js";
import { get, watch } from "../store.js";
import * as words from "../words.js";
import { aged, health, notes, problem, status, statusAt, strip, verdict, waiting } from "../widgets/parts.js";
import * as questions from "./questions.js";
import { standing } from "./standing.js";

/** The tabs: name -> title and what draws it, given (place, account, whether it is still wanted). */
const TABS = {
  "": ["Standing", standing],
  "what-if": ["What if", async (...given) => (await import("./whatif.js")).whatIf(...given)],
  market: ["Market", questions.market],
  lines: ["Lines", questions.lines],
  sensitivity: ["Sensitivity", questions.sensitivity],
  funding: ["Funding", questions.funding],
  compare: ["Compare", questions.compare],
  cascade: ["Cascade", questions.cascade],
  history: ["History", questions.history],
};

/** Draws one account; `rest` is [id, tab]. */
export async function render(place, [id, tab = ""], wanted) {
  const head = h("div");
  const body = h("div", { class: "tab" });
  const known = TABS[tab] ?? TABS[""];
  fill(place, head, tabs(id, tab), body);
  const account = { id, subject: { account_id: id }, report: null };
  const began = await waiting(head, async () => {
    account.report = await api.ask("evaluate", account.subject);
    return header(account);
  });
  if (!wanted()) return undefined;
  if (!began) {
    fill(body, h("p", {}, h("a", { href: "#/" }, "Back to the overview")));
    return undefined;
  }
  let leave = await draw(known[1], body, account, wanted);
  let snapshot = get().accounts?.find((row) => row.id === id)?.snapshot;

  // another snapshot: the same tab again, on the new figures; a what-if in progress is left alone and told
  const stop = watch(async (state, fields) => {
    if (!fields.includes("accounts")) return;
    const row = state.accounts?.find((each) => each.id === id);
    if (!row || row.snapshot === snapshot) return;
    const first = snapshot === undefined;
    snapshot = row.snapshot;
    if (first) return;
    try {
      account.report = await api.ask("evaluate", account.subject);
    } catch (error) {
      fill(head, problem(error));
      return;
    }
    if (!wanted()) return;
    fill(head, header(account));
    if (tab === "what-if") return;
    leave?.();
    leave = await draw(known[1], body, account, wanted);
  });
  return () => {
    stop();
    leave?.();
  };
}

async function draw(tab, body, account, wanted) {
  try {
    return await tab(body, account, wanted);
  } catch (error) {
    fill(body, problem(error));
    return undefined;
  }
}

function tabs(id, tab) {
  const base = `#/account/${encodeURIComponent(id)}`;
  return h("nav", { class: "tabs", "aria-label": "Questions of this account" }, Object.entries(TABS).map(([name, [title]]) =>
    h("a", { href: name ? `${base}/${name}` : base, "aria-current": name === tab ? "page" : null }, title)));
}

function header({ id, report }) {
  const row = get().accounts?.find((each) => each.id === id);
  const sentence = verdict("…", report.status);
  tell(sentence, id, report);
  const unit = ` ${report.currency}`;
  const money = (name, value) => ({ name, text: value === null || value === undefined ? words.UNKNOWN : words.amount(value) + unit,
    exact: value });
  return [
    h("div", { class: "title" }, h("h1", {}, row?.title || id), statusAt(report.status, row?.stale),
      row?.stale && report.status !== "healthy" && status("stale"),
      h("span", { class: "dim" }, report.profile, ", rules of ", report.rules_since, "; market of ", words.moment(report.as_of),
        ", ",
        aged(report.as_of)), button("Remove", () => remove(id),
          { class: "plain", title: "Remove this account from the page and the store" })),
    sentence,
    strip([
      { name: "margin ratio", text: health(report.margin_ratio, report.status), exact: report.margin_ratio },
      money("equity", report.equity), money("maintenance margin", report.maintenance_margin),
      money("headroom", report.headroom), money("initial margin", report.initial_margin),
      money("free collateral", report.free_collateral), money("withdrawable", report.withdrawable),
    ]),
    notes(report.notes),
  ];
}

async function remove(id) {
  const { showDialog } = await import("../app.js");
  const close = showDialog(`Remove ${id}?`, h("p", {}, "Its snapshots and its history are removed with it."),
    button("Remove", async () => {
      await api.removeAccount(id);
      close();
      location.hash = "#/";
    }, { class: "danger" }));
}

/** The sentence of what kills the account; a very large account is not asked unasked. */
async function tell(place, id, report) {
  if (report.status === "liquidation") {
    const weakest = report.pools.find((pool) => pool.status === "liquidation") ?? report;
    place.textContent = `Liquidatable now: ${weakest.name ?? id} has ${words.amount(weakest.equity)} ${weakest.currency} of equity ` +
      `against ${words.amount(weakest.maintenance_margin)} of maintenance margin.`;
    return;
  }
  if (report.positions.length > questions.MANY) {
    const near = get().accounts?.find((row) => row.id === id)?.nearest;
    place.textContent = near?.words ?? `${report.positions.length} positions: thresholds are asked for below.`;
    return;
  }
  try {
    place.textContent = sentenceOf(await api.ask("threshold", { account_id: id }));
  } catch (error) {
    place.textContent = `Thresholds unknown: ${error.message}`;
  }
}

function sentenceOf(found) {
  const said = words.nearestWords(found);
  return said.startsWith("never") ? "No price move liquidates it."
    : said.startsWith("unknown") || said.startsWith("liquid") ? `${said[0].toUpperCase()}${said.slice(1)}.` : `Liquidated at ${said}.`;
}
