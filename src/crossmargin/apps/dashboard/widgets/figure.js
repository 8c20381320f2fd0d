/* Figures the service specified: drawn when they come into sight, in the page's colours, each with its table beside. */

import { fill, h } from "../dom.js";
import { wordy } from "../words.js";
import { plain } from "./table.js";

let library = null;

/** The chart library, fetched once and only when a figure is to be seen. */
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/static/plotly.min.js" });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      library = null;
      reject(new Error("the chart library did not load; the tables below have every figure"));
    });
    document.head.append(script);
  });
  return library;
}

/** The specification in the colours of the page: ink and grid are the page's, the rest is the service's. */
function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, grid] = [style.getPropertyValue("--dim").trim(), style.getPropertyValue("--line").trim()];
  const found = { ...layout, font: { ...layout.font, color: ink, family: "system-ui, sans-serif", size: 12 }, title: null,
    margin: { ...layout.margin, t: layout.title ? 28 : layout.margin?.t } };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    found[axis] = { ...layout[axis], gridcolor: grid, linecolor: grid, zerolinecolor: grid };
  }
  return found;
}

const SHORT = 8; // rows of a table that is not folded away beside its figures
const CONFIG = { responsive: true, displayModeBar: false, displaylogo: false };

async function paint(place, spec) {
  try {
    const Plotly = await plotly();
    if (!place.isConnected) return;
    await Plotly.react(place, spec.data, themed(spec.layout), CONFIG);
    place.dataset.painted = Number(place.dataset.painted ?? 0) + 1;
  } catch (error) {
    fill(place, h("p", { class: "dim" }, error.message));
  }
}

const specs = new Map(); // place -> specification, of figures that are in the page

const eye = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    eye.unobserve(entry.target);
    if (specs.has(entry.target)) paint(entry.target, specs.get(entry.target));
  }
}, { rootMargin: "200px" });

/** Draws what is in sight again: after the theme changed. */
export function repaint() {
  for (const [place, spec] of specs) {
    if (!place.isConnected) specs.delete(place);
    else if (place.dataset.painted) paint(place, spec);
  }
}

/** One figure of the service as an element, with its answer in words and its table twin. */
export function figure(found, open = false) {
  const name = found.spec?.layout?.title?.text ?? found.title;
  const place = h("div", { class: "plot", role: "img", "aria-label": `${name}; the same figures are in the table` });
  if (found.spec) {
    place.style.minHeight = `${found.spec.layout?.height ?? 340}px`;
    for (const old of specs.keys()) if (!old.isConnected && old.dataset.painted) specs.delete(old);
    specs.set(place, found.spec);
    eye.observe(place);
  }
  return h("figure", {}, h("figcaption", {}, name), found.note && h("p", { class: "note" }, wordy(found.note)),
    found.spec && place, found.table && twin(name, found.table, open || !found.spec));
}

/** A whole answer of the service: its words, its figures, and the tables that are no figure's twin, under a heading. */
export function answer({ words, figures = [], tables = [] }, heading = "") {
  if (!words && !figures.length && !tables.length) return h("p", { class: "dim" }, "Nothing here moves it.");
  // what is said of one of several figures stands beside that one
  const lead = figures.length > 1 && figures.some((found) => found.note === words) ? "" : words;
  const said = new Set([lead]);
  for (const found of figures) {
    if (said.has(found.note)) found.note = null;
    said.add(found.note);
  }
  const told = new Set(figures.map((found) => JSON.stringify(found.table)));
  const others = tables.filter((found) => !told.has(JSON.stringify(found)));
  return [lead && h("p", { class: "note" }, wordy(lead)), figures.length > 0 && h("div", { class: "figures" },
    figures.map((found) => figure(found, found.table?.rows.length <= SHORT))),
    others.map((found) => (figures.length ? fold(`${found.title} (${found.rows.length})`,
      () => plain(found.title, found.columns, found.rows), found.rows.length <= SHORT)
      : [found.title !== heading && h("h3", {}, found.title), plain(found.title, found.columns, found.rows)]))];
}

const twin = (name, { columns, rows }, open) => fold("as a table", () => plain(name, columns, rows), open);

/** Something made only when it is opened. */
function fold(title, make, open = false) {
  const element = h("details", { class: "twin", open }, h("summary", {}, title));
  const show = () => element.open && element.children.length === 1 && element.append(make());
  element.addEventListener("toggle", show);
  show();
  return element;
}
