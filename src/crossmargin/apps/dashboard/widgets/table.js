/* One table for everything: sorted by its headings, searched, walked by keys, and drawn in a window when it is long. */

import { fill, h } from "../dom.js";
import { STATUS_WORDS, heading, wordy } from "../words.js";
import { status } from "./parts.js";

const ROW = 30; // pixels of a row in a windowed table; style.css fixes the same height
const WINDOWED = 120; // rows from which only those in sight are drawn
const MARGIN = 12; // rows drawn beyond each edge

let current = null; // the table that keys walk: the last one that was touched or drawn

/** Moves the selection of the table in use, or opens its row: the keys j, k and Enter. */
export const walk = (step) => current?.walk(step);
export const open = () => current?.open();

/**
 * A table.
 *
 * columns: [{title, cell(row) -> text or node, order?(row) -> number or text, kind: "number"|"words"|"", exact?(row)}].
 * options: label, rows, key(row) -> text, search?(row) -> text, opens?(row), mark?(row) -> class, empty (node or text);
 * stack: on a narrow screen each row is a card of named figures.
 * Gives {element, update(rows), filter(text)}.
 */
export function table(columns, { label, rows, key, search, opens, mark, stack, empty = "Nothing here." }) {
  let all = rows;
  let seen = rows;
  let wanted = "";
  let order = null; // {column, down}
  let selected = null; // key of the selected row
  let windowed = false;

  const head = h("tr", {}, columns.map((column) => {
    const sort = column.order && h("button", { type: "button", class: "sort", on: { click: () => sorted(column) } },
      column.title);
    return h("th", { scope: "col", class: column.kind, "aria-sort": column.order ? "none" : null },
      sort || column.title);
  }));
  const body = h("tbody");
  const grid = h("table", { class: "grid" }, h("caption", { class: "hidden" }, label), h("thead", {}, head), body);
  const box = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, grid);
  const nothing = h("p", { class: "dim" }, empty);
  const element = h("div", { class: stack ? "table stack" : "table" }, box, nothing);
  box.addEventListener("scroll", () => windowed && requestAnimationFrame(draw));
  box.addEventListener("focusin", () => (current = handle));
  box.addEventListener("pointerdown", () => (current = handle));

  function sorted(column) {
    order = { column, down: order?.column === column ? !order.down : !column.kind?.startsWith("words") };
    columns.forEach((each, index) => each.order && head.children[index].setAttribute("aria-sort",
      each !== column ? "none" : order.down ? "descending" : "ascending"));
    arrange();
  }

  function arrange() {
    seen = wanted && search ? all.filter((row) => search(row).toLowerCase().includes(wanted)) : [...all];
    if (order) {
      const value = order.column.order;
      const sign = order.down ? -1 : 1;
      seen.sort((a, b) => compare(value(a), value(b), sign));
    }
    windowed = seen.length > WINDOWED;
    element.classList.toggle("windowed", windowed);
    grid.setAttribute("aria-rowcount", seen.length + 1);
    box.hidden = seen.length === 0;
    nothing.hidden = seen.length !== 0;
    drawn = "";
    draw();
  }

  let drawn = "";
  function draw() {
    const height = windowed ? box.clientHeight || 600 : 0;
    const first = windowed ? Math.max(0, Math.floor(box.scrollTop / ROW) - MARGIN) : 0;
    const last = windowed ? Math.min(seen.length, Math.ceil((box.scrollTop + height) / ROW) + MARGIN) : seen.length;
    if (drawn === `${first}-${last}`) return;
    drawn = `${first}-${last}`;
    fill(body, spacer(first), seen.slice(first, last).map((row, index) => line(row, first + index)),
      spacer(seen.length - last));
  }

  function spacer(count) {
    if (!count) return null;
    const space = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns.length }));
    space.firstChild.style.height = `${count * ROW}px`;
    return space;
  }

  function line(row, index) {
    const name = key(row);
    const made = h("tr", {
      class: [mark?.(row), opens && "opens"].filter(Boolean).join(" ") || null, "aria-rowindex": index + 2,
      "aria-selected": name === selected ? "true" : null, data: { key: name },
    }, columns.map((column, at) => h(at ? "td" : "th",
      { class: column.kind, title: column.exact?.(row) || null, scope: at ? null : "row",
        data: stack && column.title ? { title: column.title } : null }, column.cell(row))));
    made.addEventListener("click", (event) => {
      choose(name);
      if (opens && !event.target.closest("a, button, input")) opens(row);
    });
    return made;
  }

  function choose(name) {
    selected = name;
    for (const row of body.rows) {
      if (row.dataset.key === name) row.setAttribute("aria-selected", "true");
      else row.removeAttribute("aria-selected");
    }
  }

  const handle = {
    element,
    walk(step) {
      const now = seen.findIndex((row) => key(row) === selected);
      const next = Math.min(seen.length - 1, Math.max(0, now === -1 ? (step > 0 ? 0 : seen.length - 1) : now + step));
      if (!seen.length) return;
      if (windowed) {
        const top = next * ROW;
        const room = box.clientHeight - 2 * ROW; // the heading stays in sight
        if (top < box.scrollTop) box.scrollTop = top;
        else if (top > box.scrollTop + room) box.scrollTop = top - room;
        draw();
      }
      choose(key(seen[next]));
      body.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
    },
    open() {
      const row = seen.find((each) => key(each) === selected);
      if (row && opens) opens(row);
    },
    update(fresh) {
      all = fresh;
      arrange();
    },
    filter(text) {
      wanted = text.trim().toLowerCase();
      box.scrollTop = 0;
      arrange();
    },
    get shown() {
      return seen.length;
    },
  };
  if (opens || !current?.element.isConnected) current = handle;
  arrange();
  // a windowed table knows its height only once it is in the page
  requestAnimationFrame(() => windowed && ((drawn = ""), draw()));
  return handle;
}

/** What is unknown stands last, whichever way the rest runs. */
function compare(a, b, sign) {
  const [noA, noB] = [a, b].map((value) => value === null || value === undefined || Number.isNaN(value));
  if (noA || noB) return noA - noB;
  return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
}

/** A decimal text as something to sort by; unknown stays unknown. */
export const sortable = (text) => (text === null || text === undefined ? null : Number(text));

// a figure with its unit or its move, or the word that stands for one
const FIGURE = /^([-+]?[\d,]*\.?\d+(\s?[%x])?( \([^)]*\))?|never|already|already liquidatable|unknown)$/;
const STACKED = 11; // columns of a table whose rows may become cards on a narrow screen; a map stays a map
const NONE = /^[-–]?$/;

/** A ready text as people read it: a name of the service in words, a dash for nothing, a status with its sign. */
function readable(title, text) {
  if (NONE.test(text)) return "–";
  if (title === "status" && text in STATUS_WORDS) return status(text);
  if (text === "already") return "already liquidatable";
  return wordy(text);
}

/** A plain table of ready texts: the twin of a figure. The first column names the row. */
export function plain(label, columns, rows) {
  const texts = (at) => rows.map((row) => String(row[at] ?? "")).filter((text) => !NONE.test(text));
  const numbers = columns.map((_, at) => at > 0 && texts(at).length > 0 && texts(at).every((text) => FIGURE.test(text)));
  return table(columns.map((title, at) => ({
    title: heading(String(title)), kind: numbers[at] ? "number" : "words",
    cell: (row) => readable(title, String(row.cells[at] ?? "")),
  })), {
    label, rows: rows.map((cells, index) => ({ cells, index })), key: (row) => String(row.index),
    search: (row) => row.cells.join(" "), stack: columns.length > 2 && columns.length <= STACKED,
  }).element;
}
