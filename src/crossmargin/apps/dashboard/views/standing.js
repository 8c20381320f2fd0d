/* Where does it stand? Thresholds with their figures, then pools, positions and collateral with what moves them. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import * as words from "../words.js";
import { figure } from "../widgets/figure.js";
import { health, problem, section, status, waiting } from "../widgets/parts.js";
import { sortable, table } from "../widgets/table.js";
import { MANY, nearestCoins } from "./questions.js";

/** Draws the tab: tables at once from the report, thresholds and slopes as they are answered. */
export async function standing(place, account, wanted) {
  const { report, subject } = account;
  const found = { sides: new Map(), slopes: new Map() };
  const positions = positionTable(report, found);
  const balances = balanceTable(report, found);
  const thresholds = h("div");
  const figures = h("div", { class: "figures" });
  const curve = h("div");
  fill(place, section("Where it is liquidated", thresholds, figures),
    report.pools.length > 1 && section("Pools", poolTable(report).element),
    section(`Positions (${report.positions.length})`, searchOf(positions, "Search positions"), positions.element),
    section("Collateral", balances.element));

  async function askThresholds() {
    fill(thresholds, h("p", { class: "dim wait" }, "asking …"));
    try {
      const answer = await api.ask("threshold", subject);
      if (!wanted()) return;
      for (const row of answer.thresholds) found.sides.set(`${row.symbol}/${row.pool}`, row);
      fill(thresholds, thresholdTable(answer).element);
      positions.update(report.positions);
      balances.update(report.balances);
    } catch (error) {
      fill(thresholds, problem(error));
    }
  }

  async function askFigures() {
    const drawCurve = api.latest((coin) => waiting(curve, async () =>
      (await api.figures("curve", subject, { coin: [coin] })).figures.map((each) => figure({ ...each, note: null }))));
    const far = h("div");
    await Promise.all([
      waiting(far, async () => (await api.figures("threshold", subject)).figures.map((each) => figure({ ...each, note: null }))),
      (async () => {
        const coins = nearestCoins(await api.ask("threshold", subject));
        if (!wanted()) return;
        if (!coins.length) return;
        fill(figures, far, h("div", {}, coins.length > 1 && h("div", { class: "bar" },
          field("Curve along", choice(coins, coins[0], drawCurve))), curve));
        await drawCurve(coins[0]);
      })(),
    ]);
  }

  async function askSlopes() {
    try {
      const answer = await api.ask("sensitivity", subject);
      if (!wanted()) return;
      for (const row of answer.slopes) found.slopes.set(`${row.kind}/${row.name}/${row.pool}`, row);
      positions.update(report.positions);
      balances.update(report.balances);
    } catch {
      // the tab of sensitivities says why; here the column stays unknown
    }
  }

  const all = () => Promise.all([askThresholds(), askFigures(), askSlopes()]);
  if (report.positions.length <= MANY) await all();
  else fill(thresholds, h("p", {}, `With ${report.positions.length} positions this takes the service some seconds. `,
    button("Ask for every threshold", all)));
}

const searchOf = (grid, label) => {
  const search = h("input", { type: "search", placeholder: `${label}  ( / )`, "aria-label": label,
    on: { input: () => grid.filter(search.value) } });
  return h("div", { class: "bar" }, search);
};

const bound = (found, end, title) => ({
  title, kind: "number", cell: (row) => words.side(found(row)?.[end]), exact: (row) => words.exactSide(found(row)?.[end]),
  order: (row) => {
    const distance = found(row)?.[end]?.distance;
    return distance === undefined || distance === null ? null : Math.abs(Number(distance));
  },
});

function thresholdTable(answer) {
  const shock = { symbol: answer.common_shock.direction, ...answer.common_shock };
  const self = (row) => row;
  return table([
    { title: "price of", kind: "words", cell: (row) => row.symbol, order: (row) => row.symbol },
    { title: "pool", kind: "words", cell: (row) => row.pool ?? "", order: (row) => row.pool ?? "" },
    { title: "now", kind: "number", cell: (row) => (row.price_now === undefined ? "" : words.amount(row.price_now)),
      exact: (row) => row.price_now },
    bound(self, "below", "if it falls to"), bound(self, "above", "if it rises to"),
    { title: "what binds there", kind: "words wide", cell: ({ below, above }) =>
      below.binding ?? above.binding ?? below.reason ?? above.reason ?? "" },
  ], { label: "Thresholds", stack: true, rows: [shock, ...answer.thresholds], key: (row) => `${row.symbol}/${row.pool}` });
}

function poolTable(report) {
  return table([
    { title: "pool", kind: "words", cell: (row) => row.name, order: (row) => row.name },
    { title: "status", kind: "words", cell: (row) => [status(row.status), row.level ? ` ${row.level}` : ""],
      order: (row) => row.status },
    { title: "margin ratio", cell: (row) => health(row.margin_ratio, row.status), order: (row) => sortable(row.margin_ratio) },
    ...["equity", "maintenance_margin", "headroom", "initial_margin", "free_collateral"].map(money),
    { title: "in", kind: "words", cell: (row) => row.currency },
  ], { label: "Pools", stack: true, rows: report.pools, key: (row) => row.name, mark: (row) => row.status });
}

const money = (name) => ({ title: words.heading(name), kind: "number", cell: (row) => words.amount(row[name]),
  exact: (row) => row[name],
  order: (row) => sortable(row[name]) });

/** The service's step of one per cent and what headroom loses by it at worst. */
const moves = (slope) => ({
  title: "1 % against it", kind: "number", cell: (row) => (slope(row) ? words.amount(slope(row).adverse) : "–"),
  exact: (row) => slope(row) && `headroom per unit: up ${slope(row).up}, down ${slope(row).down}; step ${slope(row).step}`,
  order: (row) => sortable(slope(row)?.adverse),
});

/** The currency in which a position's figures are: what its contract settles in. */
const settleOf = (symbol) => symbol.split(":")[1]?.split(/[-@]/)[0] ?? "";

function positionTable(report, found) {
  const sides = (row) => found.sides.get(`${row.symbol}/${row.pool}`);
  const slope = (row) => found.slopes.get(`mark_price/${row.symbol}/${row.pool}`);
  return table([
    { title: "position", kind: "words", cell: (row) => row.symbol + (row.position_side === "net" ? "" : ` ${row.position_side}`),
      order: (row) => row.symbol },
    { title: "pool", kind: "words", cell: (row) => row.pool, order: (row) => row.pool },
    { title: "contracts", kind: "number", cell: (row) => words.quantity(row.quantity), exact: (row) => row.quantity,
      order: (row) => sortable(row.quantity) },
    ...["mark_price", "notional", "unrealized_pnl", "initial_margin", "maintenance_margin"].map(money),
    { title: "in", kind: "words", cell: (row) => settleOf(row.symbol) },
    { title: "rate", kind: "number", cell: (row) => (row.maintenance_rate ? words.percent(row.maintenance_rate,
      { digits: 2 }) : "–"),
      exact: (row) => (row.bracket ? `bracket ${row.bracket}, less ${row.maintenance_deduction}` : null),
        order: (row) => sortable(row.maintenance_rate) },
    moves(slope), bound(sides, "below", "falls to"), bound(sides, "above", "rises to"),
  ], { label: "Positions", stack: true, rows: report.positions, key: (row) => `${row.symbol}/${row.pool}/${row.position_side}`,
    search: (row) => `${row.symbol} ${row.pool} ${row.position_side}`, empty: "No position matches, or there is none." });
}

function balanceTable(report, found) {
  const sides = (row) => found.sides.get(`${row.asset}/${row.pool}`);
  const slope = (row) => found.slopes.get(`index_price/${row.asset}/${row.pool}`);
  return table([
    { title: "asset", kind: "words", cell: (row) => row.asset, order: (row) => row.asset },
    { title: "pool", kind: "words", cell: (row) => row.pool, order: (row) => row.pool },
    { title: "wallet balance", kind: "number", cell: (row) => words.quantity(row.wallet_balance),
      exact: (row) => row.wallet_balance, order: (row) => sortable(row.wallet_balance) },
    ...["unrealized_pnl", "equity", "collateral_value"].map(money), moves(slope),
    bound(sides, "below", "falls to"), bound(sides, "above", "rises to"),
  ], { label: "Collateral", stack: true, rows: report.balances, key: (row) => `${row.asset}/${row.pool}`,
    empty: "Nothing is held: the positions bring their own margin." });
}
