/* Where should my capital sit? A fund over several venues: the plan that keeps every pool safe, and what more safety costs. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import { drop, indented, jsonOf } from "../files.js";
import { get } from "../store.js";
import * as words from "../words.js";
import { answer } from "../widgets/figure.js";
import { problem, section, verdict, waiting } from "../widgets/parts.js";
import { table } from "../widgets/table.js";

const OBJECTIVES = [["", "as the fund says"], ["least_cost", "least cost"], ["most_freed", "most freed"],
  ["largest_headroom", "largest headroom"],
  ["least_collateral", "least collateral"], ["most_carry", "most carry"], ["largest_position", "largest position"]];
const LEVELS = 5;

/** Draws the allocation. */
export async function render(place, _rest, wanted) {
  const text = h("textarea", { rows: "16", spellcheck: "false", class: "code" });
  const asked = { objective: "", buffer: "" };
  const out = h("div");
  const frontier = h("div");

  async function plan() {
    fill(frontier);
    fill(out, h("p", { class: "dim wait" }, "solving …"));
    try {
      const fund = fundOf(text.value);
      const options = { ...(asked.objective && { objective: asked.objective }), ...(asked.buffer && { buffer: asked.buffer }) };
      const found = await api.call("POST", "/v1/questions/allocate", body(fund, options));
      if (!wanted()) return;
      fill(out, planned(found));
      const title = "What more safety costs";
      await waiting(frontier, async () => section(title, answer(
        await api.call("POST", "/v1/figures/allocate", body(fund, { ...options, frontier: LEVELS })), title)));
    } catch (error) {
      fill(out, problem(error));
    }
  }

  const load = async (from) => {
    try {
      text.value = indented(fundOf(await from()));
      plan();
    } catch (error) {
      fill(out, problem(error));
    }
  };
  const example = () => load(async () => (await fetch("/static/samples/fund.json")).text());
  const mine = () => load(async () => JSON.stringify(await ofAccounts()));
  const card = section("The fund");
  card.append(h("p", {}, "Accounts, what may be moved between them (routes), what may be traded (orders), " +
    "and how safe every pool must stay. The plan advises; nothing is traded."),
    h("div", { class: "bar" }, button("The example", example), button("From my accounts", mine),
      drop("Choose or drop a fund file", ([file]) => load(() => jsonOf(file, "fund")),
      { accept: ".toml,.json", around: card })),
    h("details", { class: "editor" }, h("summary", {}, "The fund as JSON"), field("JSON", text)),
    h("form", { class: "bar", on: { submit: (event) => {
      event.preventDefault();
      plan();
    } } }, field("Aim", choice(OBJECTIVES, "", (next) => (asked.objective = next))),
    field("Buffer, share of maintenance margin", h("input", { type: "text", inputmode: "decimal", pattern: "(0|[1-9][0-9]*)([.][0-9]+)?",
      placeholder: "as the fund says", title: "A share of maintenance margin: 0.2 is 20 %",
      on: { input: (event) => (asked.buffer = event.target.value) } })),
        h("button", { class: "primary" }, "Plan")));
  fill(place, h("h1", {}, "Allocation"), card, out, frontier);
  await example();
}

/** The fund's own text where it is JSON; its digits go to the service as they were written. */
function fundOf(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new api.Problem(0, { title: "The fund is not JSON", detail: error.message });
  }
  return text;
}

const body = (fund, options) => `{"fund":${fund},"options":${JSON.stringify(options)}}`;

/** A fund of the stored accounts, with a route from each to each that has no price yet: the owner fills in fees. */
async function ofAccounts() {
  const rows = get().accounts ?? (await api.accounts());
  const files = await Promise.all(rows.slice(0, 20).map(async (row) => ({ id: row.id, ...(await api.account(row.id)) })));
  const currency = rows[0]?.currency ?? "USDT";
  const routes = rows.slice(0, 20).flatMap((from) => rows.slice(0,
    20).filter((to) => to !== from).map((to) => ({ from: from.id, to: to.id, asset: currency, fee: "1" })));
  return { currency, accounts: files, routes, safety: { share: "0.2", historical: ["october-2025"] },
    objective: { kind: "least_cost" } };
}

function planned(found) {
  const money = (name, title = words.heading(name)) => ({ title, kind: "number", cell: (row) => words.amount(row[name]),
    exact: (row) => row[name] });
  const effect = (row) => row.effects.map((each) =>
    `${each.account}: ${words.amount(each.headroom_before)} → ${words.amount(each.headroom_after)}`).join("; ");
  const size = (row) => row.amount ?? row.quantity;
  const safe = found.safe ? "every pool safe in every scenario" : "NOT safe";
  return [verdict(`${words.heading(found.aim)}: ${words.amount(found.objective)} ${found.currency}, ${safe}; ` +
    `${found.moves.length} moves, ${found.scenarios} scenarios, within ${words.amount(found.gap)} of the best there is.`,
      found.safe ? "healthy" : "liquidation"),
  section("Moves, in this order", table([
    { title: "phase", kind: "words", cell: (row) => row.phase },
    { title: "move", kind: "words", exact: size,
      cell: (row) => row.words + (size(row) ? `: ${words.quantity(size(row))}` : "") },
    { title: "headroom", kind: "words", cell: effect }, money("cost"),
    { title: "hours", kind: "number", cell: (row) => words.quantity(row.delay_hours) },
  ], { label: "Moves", rows: found.moves, key: (row) => row.words + row.amount,
    empty: "No move is needed: every pool is safe as it stands." }).element),
  section("Pools before and after", table([
    { title: "pool", kind: "words", cell: (row) => `${row.account} ${row.pool}` },
    ...["before", "after"].flatMap((when) => ["equity", "headroom", "worst_headroom", "slack"].map((name) => ({
      title: `${words.heading(name)} ${when}`, kind: "number", cell: (row) => words.amount(row[when][name]),
        exact: (row) => row[when][name] }))),
    { title: "worst in", kind: "words", cell: (row) => row.after.scenario ?? "" },
      { title: "in", kind: "words", cell: (row) => row.currency },
  ], { label: "Pools before and after", rows: found.pools, key: (row) => `${row.account}/${row.pool}` }).element),
  section("What each limit costs", h("ul", {}, found.shadow_prices.map((row) => h("li", { title: row.value }, row.words))))];
}
