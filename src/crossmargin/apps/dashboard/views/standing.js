/* Where does it stand? Thresholds with their figures, then pools, positions and collateral with what moves them. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import * as words from "../words.js";
import { figure } from "../widgets/figure.js";
import { health, problem, section, status, waiting } from "../widgets/parts.js";
import { sortable, table } from "../widgets/table.js";
import { MANY, nearestCoins, thresholdsOf } from "./questions.js";

/** Draws the tab: tables at once from the report, thresholds, then slopes and pictures; gives what shows another report. */
export async function standing(place, account, wanted) {
  const { subject } = account;
  const large = account.report.positions.length > MANY;
  const found = { sides: new Map(), slopes: new Map() };
  const pools = poolTable(account.report);
  const positions = positionTable(account.report, found);
  const balances = balanceTable(account.report, found);
  const thresholds = h("div");
  const pictures = picturesOf(account, wanted);
  fill(place, section("Where it is liquidated", thresholds, pictures.element),
    account.report.pools.length > 1 && section("Pools", pools.element),
    section(["Positions (", counted(account), ")"], searchOf(positions, "Search positions"), positions.element),
    section("Collateral", balances.element));
  const list = thresholdTable();

  function showRows() {
    place.querySelector(".counted").replaceWith(counted(account));
    pools.update(account.report.pools);
    positions.update(account.report.positions);
    balances.update(account.report.balances);
  }

  async function askThresholds() {
    try {
      const answer = await thresholdsOf(account);
      if (!wanted()) return;
      found.sides = new Map(answer.thresholds.map((row) => [`${row.symbol}/${row.pool}`, row]));
      list.update([{ symbol: answer.common_shock.direction, ...answer.common_shock }, ...answer.thresholds]);
      fill(thresholds, list.element);
    } catch (error) {
      found.sides.clear();
      fill(thresholds, problem(error));
    }
    showRows();
  }

  async function askSlopes() {
    try {
      const answer = await api.ask("sensitivity", subject);
      if (!wanted()) return;
      found.slopes = new Map(answer.slopes.map((row) => [`${row.kind}/${row.name}/${row.pool}`, row]));
    } catch {
      found.slopes.clear(); // the tab of sensitivities says why; here the column stays unknown
    }
    showRows();
  }

  // what kills it comes first, and nothing else makes it wait
  async function all() {
    await askThresholds();
    await Promise.all([askSlopes(), pictures.draw()]);
  }

  function offer() {
    fill(thresholds, h("p", {}, `With ${account.report.positions.length} positions this takes the service some seconds. `,
      button("Ask for every threshold", () => {
        fill(thresholds, h("p", { class: "dim wait" }, "asking …"));
        all();
      })));
  }

  if (large) offer();
  else {
    fill(thresholds, h("p", { class: "dim wait" }, "asking …"));
    await all();
  }
  return async () => {
    if (!large) return all();
    // thresholds of other prices are none of these
    found.sides.clear();
    found.slopes.clear();
    showRows();
    return offer();
  };
}

const counted = ({ report }) => h("span", { class: "counted" }, report.positions.length);

/** The pictures of the thresholds, and the curve along one coin, which may be chosen. */
function picturesOf(account, wanted) {
  const far = h("div");
  const curve = h("div");
  const choosing = h("div");
  const element = h("div", { class: "figures" });
  let chosen = null;
  const shown = (place, name, options) => waiting(place, async () =>
    (await api.figures(name, account.subject, options)).figures.map((each) => figure({ ...each, note: null })),
  { quiet: place.hasChildNodes() });
  const drawCurve = api.latest((coin) => {
    chosen = coin;
    return shown(curve, "curve", { coin: [coin] });
  });

  async function draw() {
    let coins;
    try {
      coins = nearestCoins(await thresholdsOf(account));
    } catch {
      return; // the table beside says why there are none
    }
    if (!wanted() || !coins.length) return;
    if (!element.hasChildNodes()) {
      fill(element, far, h("div", {}, choosing, curve));
      fill(choosing, coins.length > 1 && h("div", { class: "bar" }, field("Curve along", choice(coins, coins[0], drawCurve))));
    }
    await Promise.all([shown(far, "threshold"), drawCurve(coins.includes(chosen) ? chosen : coins[0])]);
  }
  return { element, draw };
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

function thresholdTable() {
  const self = (row) => row;
  return table([
    { title: "price of", kind: "words", cell: (row) => row.symbol, order: (row) => row.symbol },
    { title: "pool", kind: "words", cell: (row) => row.pool ?? "", order: (row) => row.pool ?? "" },
    { title: "now", kind: "number", cell: (row) => (row.price_now === undefined ? "" : words.amount(row.price_now)),
      exact: (row) => row.price_now },
    bound(self, "below", "if it falls to"), bound(self, "above", "if it rises to"),
    { title: "what binds there", kind: "words wide", cell: ({ below, above }) =>
      below.binding ?? above.binding ?? below.reason ?? above.reason ?? "" },
  ], { label: "Thresholds", stack: true, rows: [], key: (row) => `${row.symbol}/${row.pool}` });
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
