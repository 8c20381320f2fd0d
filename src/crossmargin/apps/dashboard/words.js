/* Figures as people read them. The service's decimals are strings and stay exact: they are only cut for display. */

const FORMATS = new Map();

function format(options) {
  const key = JSON.stringify(options);
  if (!FORMATS.has(key)) FORMATS.set(key, new Intl.NumberFormat("en-US", options));
  return FORMATS.get(key);
}

export const UNKNOWN = "unknown";
const DUST = 1e-8; // what is nearer to 0 reads as 0.00, with its sign: what the digits of a threshold leave over

/** An amount: grouped, two decimals, and four significant digits below 1; what is missing is said to be unknown. */
export function amount(text) {
  if (text === null || text === undefined || text === "") return UNKNOWN;
  const size = Math.abs(Number(text));
  const decimals = size < 1 && size >= DUST ? 3 - Math.floor(Math.log10(size)) : 2;
  return format({ minimumFractionDigits: 2, maximumFractionDigits: decimals }).format(text);
}

/** A quantity: as many decimals as it has, up to eight. */
export function quantity(text) {
  return text === null || text === undefined ? UNKNOWN : format({ maximumFractionDigits: 8 }).format(text);
}

/** A fraction of the service as per cent: 0.184 is 18.4 %. */
export function percent(text, { sign = false, digits = 1 } = {}) {
  if (text === null || text === undefined) return UNKNOWN;
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (sign) options.signDisplay = "exceptZero";
  return format(options).format(text).replace("%", "\u00a0%");
}

/** One side of a threshold in words: a price with its distance, never, already, or unknown with its reason. */
export function side(crossing) {
  if (!crossing) return "–";
  const words = { never: "never", already: "already liquidatable" };
  if (crossing.kind in words) return words[crossing.kind];
  if (crossing.kind !== "price") return crossing.reason ? `${UNKNOWN}: ${crossing.reason}` : UNKNOWN;
  const move = crossing.distance === undefined || crossing.distance === null
    ? "" : percent(crossing.distance, { sign: true });
  if (crossing.price === undefined || crossing.price === null) return move;
  return move ? `${amount(crossing.price)} (${move})` : amount(crossing.price);
}

/** The exact decimals behind a side, for a tooltip. */
export function exactSide(crossing) {
  return crossing?.kind === "price"
    ? [crossing.price && `price ${crossing.price}`, crossing.distance && `move ${crossing.distance}`, crossing.binding]
        .filter(Boolean).join("; ")
    : crossing?.reason ?? "";
}

/** The nearer of two sides by the distance the service gives; null where neither has one. */
export function nearer(below, above) {
  const sides = [below, above].filter((found) => found?.distance !== undefined && found?.distance !== null);
  return sides.sort((a, b) => Math.abs(Number(a.distance)) - Math.abs(Number(b.distance)))[0] ?? null;
}

/** The coin behind a threshold's name: a contract's base, or the asset itself. */
export function coinOf(name) {
  return name.includes("/") ? name.split("/")[0] : name;
}

/** Every move that liquidates, in one line: "BTC -18.4 % alone; all coins -12.1 % together". */
export function nearestWords(thresholds) {
  const { below, above } = thresholds.common_shock;
  const all = thresholds.thresholds.flatMap((row) => [row.below, row.above]);
  if ([below, above, ...all].some((found) => found.kind === "already")) return "liquidatable now";
  const alone = thresholds.thresholds
    .map((row) => ({ row, found: nearer(row.below, row.above) }))
    .filter(({ found }) => found)
    .sort((a, b) => Math.abs(Number(a.found.distance)) - Math.abs(Number(b.found.distance)))[0];
  const words = [];
  if (alone) words.push(`${coinOf(alone.row.symbol)} ${percent(alone.found.distance, { sign: true })} alone`);
  for (const found of [below, above]) {
    if (found.kind === "price") words.push(`all coins ${percent(found.distance, { sign: true })} together`);
  }
  if (words.length) return words.join("; ");
  return all.some((found) => found.kind === "unknown") ? "unknown: no move is known to liquidate it"
    : "never: no price move liquidates it";
}

export const STATUS_WORDS = {
  healthy: "healthy", warning: "warning", liquidation: "liquidatable", unknown: UNKNOWN, stale: "stale",
};

/** Statuses that are a verdict; any other says that there is none. */
export const isKnown = (status) => ["healthy", "warning", "liquidation"].includes(status);

const AHEAD = 60; // seconds by which clocks may differ

/** A time in its largest unit: 317157 s is "3 d". */
export function span(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)}\u00a0${unit}`;
  }
  return `${Math.round(seconds)}\u00a0s`;
}

/** What a rule of the monitor watches, in the unit of its kind. */
const FIGURES = {
  margin_ratio: percent, distance: (text) => percent(text, { sign: true }), sensitivity: percent,
  stale: (text) => span(Number(text)), lag: (text) => span(Number(text)), runway: (text) => span(Number(text) * 3600),
  headroom: amount,
};

/** A figure of an alert, or its limit; kinds without a unit of their own count something. */
export const figure = (kind, text) => (text === null || text === undefined ? UNKNOWN : (FIGURES[kind] ?? quantity)(text));

/** How long ago a moment was, in its largest unit; a moment of the future has no age. */
export function age(moment, now = Date.now()) {
  if (!moment) return "age unknown";
  const seconds = Math.round((now - Date.parse(moment)) / 1000);
  if (seconds < -AHEAD) return "in the future, age unknown";
  if (seconds < 5) return "just now";
  return `${span(seconds)} ago`;
}

/** A moment in UTC to the minute. */
export function moment(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : UNKNOWN;
}

/** A sentence of the service with its fields in words: "free_collateral is short" is "free collateral is short". */
export const wordy = (text) => text.replace(/\b[a-z]+(_[a-z]+)+\b/g, heading);

/** A name of the service as a heading: maintenance_margin is "maintenance margin". */
export const heading = (name) => name.replaceAll("_", " ");
