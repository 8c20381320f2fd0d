/* What would change if ...? Sliders and an order ticket; the service judges a copy, before and after, nothing is traded. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import * as words from "../words.js";
import { health, problem, section, status, verdict } from "../widgets/parts.js";
import { table } from "../widgets/table.js";
import { coinsOf, thresholdsOf } from "./questions.js";
import { saver } from "./saving.js";
import { fractionOf } from "./overview.js";

const FIGURES = ["equity", "initial_margin", "maintenance_margin", "headroom", "free_collateral", "withdrawable"];
const SLIDERS = 8; // coins with a slider of their own; the nearest to liquidation first, the rest on request

/** Draws the tab; gives what asks the same again of another snapshot. */
export async function whatIf(place, account, wanted) {
  let file = await api.account(account.id);
  const coins = await coinsOf(account);
  if (!wanted()) return;
  const asked = { moves: new Map(), depegs: new Map(), levers: new Map(), shares: new Map(), ratios: new Map(), steps: [] };
  const out = results(saver(account.id, () => api.changed(subjectOf(account, file, asked.ratios), changesOf(asked))));
  const run = api.latest(async () => {
    const changes = changesOf(asked);
    const began = performance.now();
    try {
      if (!changes.length && !asked.ratios.size) out.rest(account.report);
      else out.show(await answerOf(account, file, asked.ratios, changes), began);
    } catch (error) {
      out.refuse(error);
    }
  });
  const panel = controls({ account, file, coins, asked, run });
  fill(place, h("div", { class: "split" }, panel.element, out.element));
  run();
  return async () => {
    file = await api.account(account.id);
    await run();
  };
}

/**
 * The service's answer: before and after. A haircut is a rule, not a change of the account, so the copy is judged with
 * the ratio stated in its file, and what stood before is asked of the file as it is.
 */
async function answerOf(account, file, ratios, changes) {
  if (!ratios.size) return api.ask("whatif", account.subject, { changes });
  const subject = subjectOf(account, file, ratios);
  const before = { before: account.report, thresholds_before: await thresholdsOf(account) };
  if (changes.length) return { ...(await api.ask("whatif", subject, { changes })), ...before, difference: {} };
  const [after, then] = await Promise.all([api.ask("evaluate", subject), api.ask("threshold", subject)]);
  return { ...before, after, thresholds_after: then, verdict: "accepted", refused: [], steps: [], difference: {}, notes: [] };
}

/** The stored account, or its file with the ratios that were moved stated in it. */
function subjectOf(account, file, ratios) {
  if (!ratios.size) return account.subject;
  const assets = [...(file.assets ?? []).filter((asset) => !ratios.has(asset.asset)),
    ...[...ratios].map(([asset, ratio]) => ({ ...(file.assets ?? []).find((known) => known.asset === asset), asset,
      collateral_ratio: ratio }))];
  return { account: { ...file, assets } };
}

/** Everything that was asked, in the order the venue would see it: the market moves first, then what the owner does. */
function changesOf({ moves, depegs, levers, shares, steps }) {
  return [
    ...[...moves].map(([coin, by]) => ({ kind: "move_price", coin, by })),
    ...[...depegs].map(([coin, by]) => ({ kind: "move_price", coin, by, only: "index" })),
    ...[...levers].map(([symbol, leverage]) => ({ kind: "set_leverage", symbol, leverage })),
    ...[...shares].map(([key, share]) => ({ ...JSON.parse(key), kind: "close", share })),
    ...steps,
  ];
}

// controls ------------------------------------------------------------------------------------------------------------

/** A slider whose rest position asks nothing; `said` words its value, `wire` is what the service gets. */
function slider(label, { min, max, step, rest = 0, said, set, clear, run }) {
  const told = h("output", {}, said(rest));
  const input = h("input", { type: "range", min, max, step, value: rest, on: { input: () => {
    const value = Number(input.value);
    told.textContent = said(value);
    input.setAttribute("aria-valuetext", told.textContent);
    if (value === rest) clear();
    else set(value);
    run();
  } } });
  const element = field(label, input);
  element.classList.add("slide");
  element.append(told);
  element.reset = () => {
    input.value = String(rest);
    told.textContent = said(rest);
  };
  return element;
}

const perCent = (value) => words.percent(fractionOf(value), { sign: true });

function controls({ account, file, coins, asked, run }) {
  const { report } = account;
  const sliders = [];
  const add = (label, options) => {
    const made = slider(label, { ...options, run });
    sliders.push(made);
    return made;
  };
  const priceSlider = (coin) => add(coin, { min: -90, max: 100, step: 0.5, said: perCent,
    set: (value) => asked.moves.set(coin, fractionOf(value)), clear: () => asked.moves.delete(coin) });
  const assets = [...new Set(report.balances.map((row) => row.asset))].slice(0, SLIDERS);
  const symbols = [...new Map(report.positions.map((row) => [row.symbol, row])).values()].slice(0, SLIDERS);

  const prices = h("div", { class: "sliders" }, coins.slice(0, SLIDERS).map(priceSlider));
  const more = coins.length > SLIDERS && field("Another coin", choice([["", "choose …"], ...coins.slice(SLIDERS)], "", (coin) =>
    coin && !asked.moves.has(coin) && prices.append(priceSlider(coin))));
  const steps = h("ol", { class: "steps" });
  const addStep = (step) => {
    asked.steps.push(step);
    drawSteps();
    run();
  };
  const drawSteps = () => fill(steps, asked.steps.map((step, index) => h("li", {}, wordsOf(step), " ", button("×", () => {
    asked.steps.splice(index, 1);
    drawSteps();
    run();
  }, { class: "plain", "aria-label": `Take back: ${wordsOf(step)}` }))));

  const element = h("div", { class: "controls" },
    section("Prices", prices, more),
    fold("On this venue only (depeg)", assets.map((asset) => add(asset, { min: -60, max: 10, step: 0.5, said: perCent,
      set: (value) => asked.depegs.set(asset, fractionOf(value)), clear: () => asked.depegs.delete(asset) }))),
    fold("Haircuts", assets.map((asset) => add(`${asset} counts`, { min: 0, max: 101, step: 1, rest: 101,
      said: (value) => (value === 101 ? "by the rules" : words.percent(fractionOf(value), { digits: 0 })),
      set: (value) => asked.ratios.set(asset, fractionOf(value)), clear: () => asked.ratios.delete(asset) }))),
    fold("Leverage and size", symbols.map((row) => {
      const key = JSON.stringify({ symbol: row.symbol, ...(row.position_side === "net" ? {} : { position_side: row.position_side }) });
      return [add(`${row.symbol} leverage`, { min: 0, max: 125, step: 1, said: (value) => (value ? `${value} x` : "as it is"),
        set: (value) => asked.levers.set(row.symbol, String(value)), clear: () => asked.levers.delete(row.symbol) }),
      add(`${row.symbol} closed`, { min: 0, max: 100, step: 1, said: (value) => `${value} %`,
        set: (value) => asked.shares.set(key, fractionOf(value)), clear: () => asked.shares.delete(key) })];
    })),
    section("Transfer", transfer({ file, report, addStep })),
    section("Order ticket", ticket({ account, symbols: Object.keys(file.market?.mark_price ?? {}), addStep })),
    h("div", { class: "bar" }, button("Back to now", () => {
      for (const each of [asked.moves, asked.depegs, asked.levers, asked.shares, asked.ratios]) each.clear();
      asked.steps.length = 0;
      sliders.forEach((each) => each.reset());
      drawSteps();
      run();
    })), steps);
  return { element };
}

const fold = (title, ...children) => h("details", { class: "card" }, h("summary", {}, title),
  h("div", { class: "sliders" }, ...children));

const DECIMAL = "-?(0|[1-9][0-9]*)([.][0-9]+)?";
const number = (properties = {}) => h("input", { type: "text", inputmode: "decimal", pattern: DECIMAL, autocomplete: "off",
  title: "A plain decimal, such as 1250.5", ...properties });

/** A field over two columns. */
const wide = (element) => {
  element.classList.add("wide");
  return element;
};

function transfer({ file, report, addStep }) {
  const assets = [...new Set([...Object.keys(file.balances ?? {}), ...report.balances.map((row) => row.asset)])];
  const pockets = report.positions.filter((row) => row.pool.endsWith("isolated")).map((row) => row.symbol);
  const ways = [["deposit", "into the account"], ["withdraw", "out of the account"],
    ...pockets.flatMap((symbol) => [[`+${symbol}`, `into ${symbol} isolated`], [`-${symbol}`, `out of ${symbol} isolated`]])];
  const way = choice(ways, "deposit", () => (asset.disabled = way.value.includes("/")));
  const asset = choice(assets, assets[0], () => {});
  const sum = number({ required: true, pattern: "(0|[1-9][0-9]*)([.][0-9]+)?" });
  return h("form", { class: "ticket", on: { submit: (event) => {
    event.preventDefault();
    addStep(way.value.includes("/")
      ? { kind: "transfer", symbol: way.value.slice(1), amount: way.value[0] === "-" ? `-${sum.value}` : sum.value }
      : { kind: way.value, asset: asset.value, amount: sum.value });
  } } }, field("Amount", sum), field("Asset", asset), wide(field("Way", way)), h("button", {}, "Try"));
}

function ticket({ account, symbols, addStep }) {
  const told = h("p", { class: "dim", role: "status" });
  const list = h("datalist", { id: "symbols" }, symbols.map((symbol) => h("option", { value: symbol })));
  const symbol = h("input", { type: "text", required: true, list: "symbols", value: symbols[0] ?? "", autocomplete: "off" });
  const side = choice([["", "buy"], ["-", "sell"]], "", () => {});
  const size = number({ required: true, pattern: "(0|[1-9][0-9]*)([.][0-9]+)?" });
  const price = number({ placeholder: "at the mark" });
  const leverage = number({ placeholder: "as held" });
  const mode = choice([["", "as held"], "cross", "isolated"], "", () => {});
  const optional = () => ({ ...(price.value && { price: price.value }), ...(leverage.value && { leverage: leverage.value }),
    ...(mode.value && { margin_mode: mode.value }) });
  const most = button("Largest", async () => {
    try {
      const found = await api.ask("max-order", account.subject,
        { symbol: symbol.value, side: side.value ? "sell" : "buy", ...optional() });
      if (found.quantity !== null) size.value = found.quantity;
      const binds = found.binding ?? found.reason ?? "nothing";
      told.textContent = found.quantity === null ? found.reason
        : `Largest: ${words.quantity(found.quantity)} contracts; then ${binds} binds.`;
    } catch (error) {
      fill(told, problem(error));
    }
  }, { title: "The largest order the rules admit, fees included" });
  return h("form", { class: "ticket", on: { submit: (event) => {
    event.preventDefault();
    addStep({ kind: "order", symbol: symbol.value, quantity: side.value + size.value, ...optional() });
  } } }, list, wide(field("Contract", symbol)), field("Side", side), field("Contracts", size), field("Price", price),
    field("Leverage", leverage),
  field("Margin", mode), h("div", { class: "bar" }, h("button", { class: "primary" }, "Try the order"), most), told);
}

/** A step as the list shows it. */
function wordsOf(step) {
  if (step.kind === "order") {
    const sell = step.quantity.startsWith("-");
    return `${sell ? "sell" : "buy"} ${step.quantity.replace("-", "")} ${step.symbol}${step.price ? ` at ${step.price}` : ""}` +
      `${step.leverage ? `, ${step.leverage} x` : ""}${step.margin_mode ? `, ${step.margin_mode}` : ""}`;
  }
  return step.kind === "transfer" ? `move ${step.amount} into ${step.symbol}` : `${step.kind} ${step.amount} ${step.asset}`;
}

// results -------------------------------------------------------------------------------------------------------------

function results(saving) {
  const told = verdict("", "");
  const reasons = h("ul", { class: "reasons" });
  const figures = h("div");
  const thresholds = h("div");
  const extra = h("div");
  const element = h("div", { class: "results", data: { painted: "0" } }, told, reasons, extra,
    section("Before and after", figures),
    section("Liquidated at", thresholds), saving);

  function painted(began) {
    requestAnimationFrame(() => {
      if (began !== undefined) performance.measure("what-if", { start: began, end: performance.now() });
      element.dataset.painted = Number(element.dataset.painted) + 1;
    });
  }

  function say(text, state) {
    told.textContent = text;
    told.className = `verdict ${state}`;
    fill(extra);
    element.classList.remove("old");
  }

  return {
    element,
    rest(report) {
      say("Nothing is changed yet: move a slider, or try an order. Nothing here is traded.", "");
      fill(reasons);
      fill(figures, beforeAfter(report, null, {}));
      fill(thresholds, h("p", { class: "dim" }, "As they stand; see Standing."));
      saving.hidden = true;
      painted();
    },
    show(found, began) {
      const { after } = found;
      const state = found.verdict === "refused" ? "warning" : after.status;
      const standing = after.status === "liquidation" ? "the account would be liquidated"
        : `it would stand at ${words.STATUS_WORDS[after.status]}`;
      const marketAlone = found.steps.every((step) => step.change.startsWith("move_price"));
      say(found.verdict === "refused" ? `Refused by the venue; were it done, ${standing}.`
        : found.verdict === "unknown" ? `Not known whether the venue takes it; ${standing}.`
        : marketAlone ? `After this move ${standing}.`
        : `Accepted; ${standing}.`, state);
      fill(reasons, found.steps.filter((step) => step.reasons.length).flatMap((step) => step.reasons.map((reason) =>
        h("li", {}, `${step.verdict}: ${words.wordy(reason)}`))), found.notes.map((note) => h("li", { class: "dim" }, words.wordy(note))));
      fill(figures, beforeAfter(found.before, after, found.difference));
      fill(thresholds, changes(found));
      saving.hidden = false;
      painted(began);
    },
    refuse(error) {
      told.textContent = "This cannot be asked as it stands.";
      told.className = "verdict warning";
      element.classList.add("old");
      saving.hidden = true;
      fill(extra, problem(error));
      painted();
    },
  };
}

function beforeAfter(before, after, difference) {
  const row = (name, cell, exact = () => null) => h("tr", {}, h("th", { scope: "row" }, name), [before, after].map((report) =>
    h("td", { class: "number", title: report && exact(report) }, report ? cell(report) : "–")));
  const text = (value) => (value === null || value === undefined ? (after ? "–" : "") : words.amount(value));
  return h("div", { class: "scroll" }, h("table", { class: "grid" },
    h("caption", { class: "hidden" }, "Figures before and after"),
    h("thead", {}, h("tr", {}, ["", `before, ${before.currency}`, `after, ${(after ?? before).currency}`,
      "difference"].map((title) =>
      h("th", { scope: "col", class: title ? "number" : "" }, title)))),
    h("tbody", {}, [["status", (report) => status(report.status)],
      ["margin ratio", (report) => health(report.margin_ratio, report.status)]]
      .map(([name, cell]) => { const line = row(name, cell, (report) => report.margin_ratio); line.append(h("td")); return line; }),
    FIGURES.map((name) => {
      const line = row(words.heading(name), (report) => words.amount(report[name]), (report) => report[name]);
      line.append(h("td", { class: "number", title: difference[name] ?? null, data: { difference: name } },
        text(difference[name])));
      return line;
    }))));
}

function changes(found) {
  const then = new Map(found.thresholds_after.thresholds.map((row) => [`${row.symbol}/${row.pool}`, row]));
  const now = new Map(found.thresholds_before.thresholds.map((row) => [`${row.symbol}/${row.pool}`, row]));
  const names = [...new Set([...now.keys(), ...then.keys()])];
  const rows = names.flatMap((key) => ["below", "above"].map((end) => ({ key: `${key}/${end}`,
    name: (now.get(key) ?? then.get(key)).symbol,
    end, before: now.get(key)?.[end], after: then.get(key)?.[end] })));
  const shock = ["below", "above"].map((end) => ({ key: `all/${end}`, name: "all coins together", end,
    before: found.thresholds_before.common_shock[end], after: found.thresholds_after.common_shock[end] }));
  // what no move reaches, before and after, is left out
  const told = [...shock, ...rows].filter((row) => [row.before, row.after].some((each) => each && each.kind !== "never"));
  return told.length === 0 ? h("p", {}, "never: no price move liquidates it, before or after.") : table([
    { title: "price of", kind: "words", cell: (row) => `${row.name} ${row.end === "below" ? "falls" : "rises"}` },
    { title: "before", kind: "number", cell: (row) => words.side(row.before), exact: (row) => words.exactSide(row.before) },
    { title: "after", kind: "number", cell: (row) => words.side(row.after), exact: (row) => words.exactSide(row.after) },
  ], { label: "Thresholds before and after", rows: told, key: (row) => row.key }).element;
}
