/* The tabs that are one question each: its figures with their tables, and the controls that the question has. */

import * as api from "../api.js";
import { choice, field, fill, h } from "../dom.js";
import * as words from "../words.js";
import { answer } from "../widgets/figure.js";
import { problem, section, waiting } from "../widgets/parts.js";
import { plain } from "../widgets/table.js";
import { tree } from "../widgets/tree.js";

/** Positions above which a page asks only what it is told to ask. */
export const MANY = 300;

/** One question's answer in its place: words, figures, tables; or why there is none. */
const shown = (place, name, subject, options) => waiting(place, async () =>
  answer(await api.figures(name, subject, options), place.closest("section").querySelector("h2").textContent));

/** What a market move does: outcomes, and headroom as two coins move apart. */
export async function market(place, account, wanted) {
  const outcomes = h("div");
  const days = h("div");
  const map = h("div");
  const axes = h("div", { class: "bar" });
  fill(place, section("If the market moves", outcomes), section("Days that were", days), section("Two coins apart", axes, map));
  const asking = Promise.all([shown(outcomes, "stress", account.subject),
    shown(days, "stress", account.subject, { historical: true })]);
  const coins = await coinsOf(account);
  if (!wanted()) return;
  const drawMap = api.latest(async (x, y) => shown(map, "stress", account.subject, { map: [x, y] }));
  if (coins.length > 1) {
    const chosen = coins.slice(0, 2);
    const pick = (at) => choice(coins, chosen[at], (coin) => {
      chosen[at] = coin;
      drawMap(...chosen);
    });
    fill(axes, field("Across", pick(0)), field("Up", pick(1)));
    drawMap(...chosen);
  } else fill(map, h("p", { class: "dim" }, "A map needs two coins that move this account."));
  await asking;
}

/** The thresholds of an account as it is, asked once for everything on the page that says one. */
export function thresholdsOf({ subject, once }) {
  if (!once.has("threshold")) once.set("threshold", api.ask("threshold", subject));
  return once.get("threshold");
}

/** The coins that move an account, the nearest to liquidation first. */
export async function coinsOf(account) {
  if (account.report.positions.length > MANY) {
    return [...new Set(account.report.positions.map((row) => words.coinOf(row.symbol)))].slice(0, MANY);
  }
  return nearestCoins(await thresholdsOf(account));
}

/** The coins of thresholds, the nearest to liquidation first. */
export function nearestCoins(found) {
  const near = (row) => Math.abs(Number(words.nearer(row.below, row.above)?.distance ?? Infinity));
  return [...new Set([...found.thresholds].sort((a, b) => near(a) - near(b)).map((row) => words.coinOf(row.symbol)))];
}

/** Every figure down to inputs, each with its rule and its source. */
export async function lines(place, account) {
  const drawn = h("div");
  const grown = h("div", { class: "tree" });
  fill(place, section("From balances to headroom", drawn), section("Every line, with its rule", grown));
  if (account.report.positions.length <= MANY) {
    waiting(drawn, async () => answer({ figures: (await api.figures("evaluate",
      account.subject)).figures.map((each) => ({ ...each, note: null })) }));
  }
  else fill(drawn, h("p", { class: "dim" }, "Too many positions for a picture; the tree below opens as far as you go."));
  await waiting(grown, async () => {
    const { lines: found, sources } = await api.ask("explain", account.subject);
    return [found.map((line) => tree(line, sources, found.length === 1)), citations(sources)];
  });
}

function citations(sources) {
  const rows = Object.entries(sources);
  return h("details", { class: "sources" }, h("summary", {}, `Sources (${rows.length})`), h("ul", {}, rows.map(([name, source]) =>
    h("li", {}, h("cite", { class: source.status }, name), " ", source.title, ", ", source.status, ", retrieved ",
      source.retrieved,
      /^https:/.test(source.url) && [" ", h("a", { href: source.url, rel: "noreferrer noopener", target: "_blank" }, "open")]))));
}

/** What moves it most. */
export async function sensitivity(place, account) {
  const drawn = h("div");
  const lever = h("div");
  fill(place, section("What moves it", drawn), section("How much leverage each position bears", lever));
  await Promise.all([shown(drawn, "sensitivity", account.subject), waiting(lever, async () => {
    const found = await api.ask("sensitivity", account.subject);
    return plain("Leverage", ["position", "pool", "margin", "leverage now",
      `safe leverage at a move of ${words.percent(found.safe_leverage[0]?.move ?? "0.1", { digits: 0 })}`, "note"],
      found.safe_leverage.map((row) => [row.symbol, row.pool, words.amount(row.margin), words.amount(row.leverage),
        words.amount(row.safe_leverage), row.note ?? ""]));
  })]);
}

/** How long it can pay funding. */
export async function funding(place, account) {
  const said = h("div");
  const drawn = h("div");
  fill(place, section("How long it can pay funding", said, drawn));
  await Promise.all([shown(drawn, "runway", account.subject), waiting(said, async () => {
    const { runways } = await api.ask("runway", account.subject);
    return h("ul", { class: "answers" }, runways.map((row) => h("li", {}, h("strong", {}, row.pool), ` (${row.scenario}): `,
      lasting(row))));
  })]);
}

function lasting(row) {
  if (row.kind === "time") return `until ${words.moment(row.at)}, paying ${words.amount(row.per_day)} ${row.currency} a day`;
  const said = { never: "for ever: it receives funding, or pays none", already: "not at all: it is liquidatable now" };
  return said[row.kind] ?? `${words.UNKNOWN}: ${row.reason ?? "no funding rate is known"}`;
}

/** Isolated or cross, this venue or that. */
export async function compare(place, account) {
  const drawn = h("div");
  const rules = h("div", { class: "bar" });
  fill(place, section("The same positions, other modes and venues", rules, drawn));
  const draw = api.latest((profile) => shown(drawn, "compare", account.subject, profile ? { with: [profile] } : undefined));
  draw("");
  try {
    const found = await api.call("GET", "/v1/profiles");
    const names = (found.profiles ?? found).map((profile) => profile.id ?? profile);
    fill(rules, field("Beside it, by the rules of", choice([["", "its own only"], ...names], "", draw)));
  } catch (error) {
    fill(rules, problem(error));
  }
}

/** What happens when it breaks. */
export async function cascade(place, account, wanted) {
  const drawn = h("div");
  const bar = h("div", { class: "bar" });
  const asked = { coin: "", up: false };
  fill(place, section("What happens when it breaks", bar, drawn));
  const draw = api.latest(() => shown(drawn, "cascade", account.subject,
    { up: asked.up, ...(asked.coin ? { coin: asked.coin } : {}) }));
  draw();
  const coins = await coinsOf(account);
  if (!wanted()) return;
  fill(bar, field("Move", choice([["", "all coins together"], ...coins], "", (coin) => {
    asked.coin = coin;
    draw();
  })), field("Direction", choice([["down", "prices fall"], ["up", "prices rise"]], "down", (way) => {
    asked.up = way === "up";
    draw();
  })));
}

/** How it stood at each snapshot. */
export async function history(place, account) {
  const body = h("div");
  fill(place, section("How it stood", body));
  await waiting(body, async () => {
    const found = await api.history(account.id);
    const rows = found.history ?? found;
    return plain("History", ["taken at", "status", "equity", "maintenance margin", "headroom"], [...rows].reverse().map((row) =>
      [words.moment(row.taken_at), words.STATUS_WORDS[row.status] ?? row.status, words.amount(row.equity),
        words.amount(row.maintenance_margin), words.amount(row.headroom)]));
  });
}
