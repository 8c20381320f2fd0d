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
  file: ["File", async (...given) => (await import("./file.js")).fileOf(...given)],
};

/** Draws one account; `rest` is [id, tab]. A tab may give what shows another snapshot in its place. */
export async function render(place, [id, tab = ""], wanted) {
  const head = h("div");
  const news = h("div", { role: "status", "aria-live": "polite" });
  const body = h("div", { class: "tab" });
  const draws = (TABS[tab] ?? TABS[""])[1];
  fill(place, head, tabs(id, tab), news, body);
  place.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const account = { id, subject: { account_id: id }, report: null, once: new Map() };
  const header = headerOf(account);
  const began = await waiting(head, async () => {
    account.report = await reportOf(account);
    header.update();
    return header.element;
  });
  if (!wanted()) return undefined;
  if (!began) {
    fill(body, h("p", {}, h("a", { href: "#/" }, "Back to the overview")));
    return undefined;
  }
  let drawing = draw(draws, body, account, wanted);

  // another snapshot: the figures above at once, the tab by itself where it can, else when it is asked to
  const follow = api.latest(async () => {
    const start = performance.now();
    try {
      const update = await drawing;
      account.report = await reportOf(account);
      account.once.clear();
      if (!wanted()) return;
      header.update();
      if (update) await update();
      else fill(news, h("p", { class: "verdict warning" }, "The account has changed since this was asked. ", button("Ask again", () => {
        fill(news);
        drawing = draw(draws, body, account, wanted);
      })));
    } catch (error) {
      fill(news, problem(error));
    }
    // a large account leaves the service as much time for others as it takes
    if (account.report.positions.length > questions.MANY) await new Promise((done) => setTimeout(done, performance.now() - start));
  });
  let snapshot;
  let stale;
  const look = ({ accounts }) => {
    if (!accounts) return;
    const row = accounts.find((each) => each.id === id);
    const before = snapshot;
    snapshot = row?.snapshot;
    if (row && stale !== undefined && stale !== row.stale) header.update();
    stale = row?.stale;
    if (row && (before === undefined ? !isOf(row, account.report) : snapshot !== before)) follow();
    else if (!row && before !== undefined) {
      fill(news, h("p", { class: "verdict warning" }, "This account was removed, by you or by somebody else: what you see is what it was. ",
        h("a", { href: "#/" }, "Back to the overview")));
    }
  };
  const stop = watch((state, fields) => fields.includes("accounts") && look(state));
  look(get());
  await drawing;
  return stop;
}

/** Whether a row of the list and a report are of the same snapshot, as far as their figures tell. */
const isOf = (row, report) => ["equity", "maintenance_margin", "headroom"].every((name) => row[name] === report[name]);

/** The account judged; lines are asked for where they are shown. */
const reportOf = ({ subject }) => api.ask("evaluate", subject, { lines: false });

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

/** What stands above every tab. The sentence is one element for as long as the page is open, so that its changes are told. */
function headerOf(account) {
  const { id } = account;
  const title = h("div", { class: "title" });
  const sentence = verdict("…", "");
  const figures = h("div");
  const element = [title, sentence, figures];
  function update() {
    const { report } = account;
    const row = get().accounts?.find((each) => each.id === id);
    const unit = ` ${report.currency}`;
    const money = (name, value) => ({ name, text: value === null || value === undefined ? words.UNKNOWN : words.amount(value) + unit,
      exact: value });
    fill(title, h("h1", {}, row?.title || id), statusAt(report.status, row?.stale),
      row?.stale && report.status !== "healthy" && status("stale"),
      h("span", { class: "dim" }, report.profile, ", rules of ", report.rules_since, "; market of ", words.moment(report.as_of),
        ", ", aged(report.as_of)),
      button("Remove", () => remove(id), { class: "plain", title: "Remove this account from the page and the store" }));
    sentence.className = `verdict ${row?.stale ? "stale" : report.status}`;
    tell(sentence, account);
    fill(figures, strip([
      { name: "margin ratio", text: health(report.margin_ratio, report.status), exact: report.margin_ratio },
      money("equity", report.equity), money("maintenance margin", report.maintenance_margin),
      money("headroom", report.headroom), money("initial margin", report.initial_margin),
      money("free collateral", report.free_collateral), money("withdrawable", report.withdrawable),
    ]), notes(report.notes));
  }
  return { element, update };
}

async function remove(id) {
  const { showDialog } = await import("../app.js");
  const told = h("div");
  const close = showDialog(`Remove ${id}?`, h("p", {}, "Its snapshots and its history are removed with it."), told,
    button("Remove", async () => {
      try {
        await api.removeAccount(id);
      } catch (error) {
        fill(told, problem(error));
        return;
      }
      close();
      location.hash = "#/";
    }, { class: "danger" }));
}

/** The sentence of what kills the account; a very large account is not asked unasked. */
async function tell(place, account) {
  const { id, report } = account;
  const stale = get().accounts?.find((row) => row.id === id)?.stale;
  const found = await said(account).catch((error) => `Thresholds unknown: ${error.message}`);
  // old prices may no longer hold, and whoever reads the first sentence alone must know
  const text = stale ? `At the prices of ${words.moment(report.as_of)}, ${words.age(report.as_of)}: ${found}` : found;
  // said again only where it is another: a reader is not told the same twice
  if (account.report === report && place.textContent !== text) place.textContent = text;

  async function said() {
    if (report.status === "liquidation") {
      const weakest = report.pools.find((pool) => pool.status === "liquidation") ?? report;
      return `Liquidatable now: ${weakest.name ?? id} has ${words.amount(weakest.equity)} ${weakest.currency} of equity ` +
        `against ${words.amount(weakest.maintenance_margin)} of maintenance margin.`;
    }
    if (report.positions.length > questions.MANY) {
      const near = get().accounts?.find((row) => row.id === id)?.nearest;
      return near?.words ?? `${report.positions.length} positions: thresholds are asked for below.`;
    }
    return sentenceOf(await questions.thresholdsOf(account));
  }
}

function sentenceOf(found) {
  const said = words.nearestWords(found);
  return said.startsWith("never") ? "No price move liquidates it."
    : said.startsWith("unknown") || said.startsWith("liquid") ? `${said[0].toUpperCase()}${said.slice(1)}.` : `Liquidated at ${said}.`;
}
