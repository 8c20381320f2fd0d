/* Which of my accounts dies first, and how far is it? Every account and pool on one screen, and one market to drag. */

import * as api from "../api.js";
import { button, field, fill, h } from "../dom.js";
import { get, watch } from "../store.js";
import * as words from "../words.js";
import { aged, health, status, statusAt, strip, verdict } from "../widgets/parts.js";
import { sortable, table } from "../widgets/table.js";
import { welcome } from "./start.js";

const ALL = "";
const COINS_OF = 60; // accounts whose coins are offered to be dragged alone
const MOST_COINS = 300;
const open = (row) => (location.hash = `#/account/${encodeURIComponent(row.id)}`);

/** Draws the overview; gives what to do when it is left. */
export async function render(place) {
  const asked = { coin: ALL, move: 0, answers: new Map() };
  const parts = { summary: h("div"), table: null };
  const grid = table(columns(asked), {
    label: "Accounts and pools", rows: [], key: (row) => `${row.id}/${row.pool ?? ""}`, opens: open,
    search: (row) => [row.id, row.title, row.venue, row.profile, row.pool, row.status, row.nearest?.words].join(" "),
    mark: (row) => [row.pool && "pool", row.stale && "old", row.status].filter(Boolean).join(" "),
    stack: true, empty: "No account matches the search.",
  });
  const pools = h("input", { type: "checkbox", on: { change: () => draw() } });
  const search = h("input", { type: "search", placeholder: "Search accounts  ( / )", "aria-label": "Search accounts",
    on: { input: () => grid.filter(search.value) } });
  const market = marketPanel(asked, draw);
  let shown = "";

  function draw() {
    const { accounts } = get();
    if (accounts === null) return;
    const kind = accounts.length ? "some" : "none";
    if (shown !== kind) {
      shown = kind;
      fill(place, h("h1", { class: "hidden" }, "Overview"), welcome(accounts),
        accounts.length > 0 && [parts.summary, market.element,
        h("section", { class: "card", "aria-label": "Accounts and pools" }, h("div", { class: "bar" }, search,
          h("label", { class: "check" }, pools, " each pool")), grid.element)]);
    }
    fill(parts.summary, summary(accounts));
    market.update(accounts);
    grid.update(accounts.flatMap((row) => [row, ...(pools.checked ? poolRows(row) : [])]));
  }

  const stop = watch((_, fields) => fields.includes("accounts") && draw());
  draw();
  return stop;
}

const poolRows = (row) => (row.pools ?? []).map((pool) => ({ ...pool, id: row.id, pool: pool.name, as_of: row.as_of,
  stale: row.stale, nearest: pool.nearest ?? null }));

function summary(accounts) {
  const count = (test) => accounts.filter(test).length;
  const unsure = (row) => row.stale || !words.isKnown(row.status);
  return strip([
    { name: "accounts", text: String(accounts.length) },
    { name: "liquidatable", text: String(count((row) => row.status === "liquidation")),
      kind: count((row) => row.status === "liquidation") ? "liquidation" : "" },
    { name: "warning", text: String(count((row) => row.status === "warning")),
      kind: count((row) => row.status === "warning") ? "warning" : "" },
    { name: "stale or unknown", text: String(count(unsure)), kind: count(unsure) ? "warning" : "" },
    { name: "nearest", text: nearestOf(accounts) },
  ]);
}

/** The account whose nearest threshold is nearest, in the service's own words, and how many have none that is known. */
function nearestOf(accounts) {
  const dead = accounts.find((row) => row.status === "liquidation");
  if (dead) return `${dead.id}: liquidatable now`;
  const near = accounts.filter((row) => row.nearest?.distance !== undefined && row.nearest?.distance !== null)
    .sort((a, b) => Math.abs(Number(a.nearest.distance)) - Math.abs(Number(b.nearest.distance)))[0];
  const unknown = accounts.filter((row) => (row.nearest?.kind ?? "unknown") === "unknown").length;
  const others = unknown ? `not known of ${unknown} of ${accounts.length}` : "";
  if (near) return [`${near.id}: ${near.nearest.words}`, others].filter(Boolean).join("; ");
  return others || "no price move liquidates any of them";
}

function columns(asked) {
  const answer = (row) => (asked.move === 0 ? null : asked.answers.get(row.id));
  const then = (row) => {
    const found = answer(row);
    return row.pool ? found?.pools?.find((pool) => pool.pool === row.pool) : found;
  };
  return [
    { title: "account", kind: "words", order: (row) => row.title ?? row.id, cell: (row) => row.pool
      ? h("span", { class: "dim" }, "└ ", row.pool)
      : h("a", { href: `#/account/${encodeURIComponent(row.id)}` }, row.title || row.id) },
    { title: "rules", kind: "", order: (row) => row.profile, cell: (row) => row.profile ?? "" },
    { title: "status", kind: "words", order: (row) => row.status, cell: (row) => statusAt(row.status, row.stale),
      exact: (row) => row.level ?? null },
    { title: "margin ratio", order: (row) => sortable(row.margin_ratio), cell: (row) => health(row.margin_ratio, row.status) },
    { title: "equity", kind: "number", order: (row) => sortable(row.equity), cell: (row) => words.amount(row.equity),
      exact: (row) => row.equity },
    { title: "maintenance", kind: "number", order: (row) => sortable(row.maintenance_margin),
      cell: (row) => words.amount(row.maintenance_margin), exact: (row) => row.maintenance_margin },
    { title: "headroom", kind: "number", order: (row) => sortable(row.headroom), cell: (row) => words.amount(row.headroom),
      exact: (row) => row.headroom },
    { title: "in", kind: "", cell: (row) => row.currency ?? "" },
    { title: "nearest liquidation", kind: "words wide", order: (row) => distance(row), exact: (row) => row.nearest?.distance,
      cell: (row) => row.nearest?.words ?? (row.pool ? "" : words.UNKNOWN) },
    { title: "at this move", kind: "words", cell: (row) => {
      const found = then(row);
      if (!found) return asked.move === 0 ? "" : h("span", { class: "dim" }, row.pool ? "" : "…");
      if (found.problem) return h("span", { class: "dim", title: found.problem }, words.UNKNOWN);
      return [status(found.status), " ", h("span", { class: "dim", title: found.headroom },
        words.amount(found.headroom))];
    } },
    { title: "market of", kind: "words", order: (row) => row.as_of,
      cell: (row) => (row.pool ? "" : [row.stale && [status("stale"), ", "], aged(row.as_of)]) },
  ];
}

const distance = (row) => (row.nearest?.distance === undefined || row.nearest?.distance === null
  ? null : Math.abs(Number(row.nearest.distance)));

/** One slider that moves a coin, or every coin, in every account at once; the verdict says who breaks first. */
function marketPanel(asked, draw) {
  const slider = h("input", { type: "range", min: "-90", max: "90", step: "0.5", value: "0", id: "market-move",
    "aria-label": "Move of the market in per cent", on: { input: () => drag() } });
  const said = h("output", { for: "market-move" }, "0.0 %");
  const told = verdict("Drag to move the market and see which account breaks first.", "");
  const list = h("select", { id: "market-coin", on: { change: () => {
    asked.coin = list.value;
    drag();
  } } }, h("option", { value: ALL }, "all coins together"));
  let known = "";

  const run = api.latest(async (coin, move) => {
    if (move === 0) return;
    const fraction = fractionOf(move);
    const options = coin === ALL ? { others: fraction } : { move: { [coin]: fraction } };
    await api.few(get().accounts, async (row) => {
      try {
        const found = await api.ask("stress", { account_id: row.id }, options);
        asked.answers.set(row.id, found.outcomes[0]);
      } catch (error) {
        asked.answers.set(row.id, { problem: error.message });
      }
    });
    if (coin === asked.coin && move === asked.move) {
      tell();
      draw();
      element.dataset.painted = Number(element.dataset.painted ?? 0) + 1;
    }
  });

  function drag() {
    asked.move = Number(slider.value);
    said.textContent = words.percent(fractionOf(asked.move), { sign: true });
    slider.setAttribute("aria-valuetext", said.textContent);
    if (asked.move === 0) {
      asked.answers.clear();
      tell();
      draw();
    } else run(asked.coin, asked.move);
  }

  function tell() {
    const accounts = get().accounts.map((row) => [row.id, asked.answers.get(row.id)]);
    const rows = accounts.filter(([, found]) => words.isKnown(found?.status));
    // what share of the move an account survives is the service's figure; the least of them breaks first
    const broken = rows.filter(([, found]) => found.status === "liquidation")
      .sort(([, a], [, b]) => Number(a.breaks_at ?? 0) - Number(b.breaks_at ?? 0));
    if (asked.move === 0) return set("Drag to move the market and see which account breaks first.", "");
    const market = `${asked.coin === ALL ? "all coins" : asked.coin} ${said.textContent}`;
    const unsure = accounts.length - rows.length; // an account that is not answered for is not one that stands
    const rest = unsure ? ` Not known of ${unsure} of ${accounts.length}.` : "";
    if (!broken.length) {
      return unsure ? set(`${market}: no account is known to break.${rest}`, "warning") : set(`${market}: no account breaks.`, "healthy");
    }
    const [id, first] = broken[0];
    const after = !first.breaks_at ? "" : Number(first.breaks_at) === 0 ? " (it is liquidatable already)"
      : ` after ${words.percent(first.breaks_at, { digits: 0 })} of the move`;
    const others = broken.slice(1).map(([name]) => name);
    return set(`${market}: ${id} breaks first${after}${first.breaks_first ? ` (pool ${first.breaks_first})` : ""}${
      others.length ? `, then ${others.join(", ")}` : ""}.${rest}`, "liquidation");
  }

  function set(text, state) {
    told.textContent = text;
    told.className = `verdict ${state}`;
  }

  async function offer(accounts) {
    const coins = new Set();
    await api.few(accounts, async (row) => {
      try {
        coinsNamed(await api.account(row.id)).forEach((coin) => coins.add(coin));
      } catch {
        // an account that was removed meanwhile offers no coin
      }
    });
    fill(list, [[ALL, "all coins together"], ...[...coins].sort().slice(0, MOST_COINS).map((coin) => [coin, `${coin} alone`])]
      .map(([value, text]) => h("option", { value, selected: value === asked.coin }, text)));
  }

  const reset = button("Back to now", () => {
    slider.value = "0";
    drag();
  });
  const element = h("section", { class: "card market", "aria-label": "Drag the market" },
    h("div", { class: "bar" }, field("Drag the market", list), h("div", { class: "slide" }, slider, said), reset), told);

  return {
    element,
    update(accounts) {
      const mark = accounts.map((row) => row.snapshot).join();
      if (mark === known) return;
      known = mark;
      if (asked.move !== 0) drag();
      // which coins there are is not needed for the first look; the list of them comes when the page is at rest
      requestIdleCallback(() => offer(accounts.slice(0, COINS_OF)));
    },
  };
}

/** The coins that an account's file names: of its contracts, and those it holds. */
function coinsNamed(file) {
  const symbols = (file.positions ?? []).map((position) => words.coinOf(position.symbol));
  return [...symbols, ...Object.keys(file.balances ?? {})];
}

/** Per cent of a slider as the fraction the service takes, digit by digit: -7.5 is -0.075. */
export function fractionOf(percent) {
  return String(Number((percent / 100).toFixed(4)));
}
