/* The waterfall of lines: every figure opens into what it is made of, down to inputs, each with its rule and source. */

import { h } from "../dom.js";
import { amount, heading } from "../words.js";

/** A line of the report as a tree; parts are made when they are opened, so that thousands of them cost nothing. */
export function tree(line, sources, open = false) {
  const said = [h("span", { class: "name" }, heading(line.name)),
    h("span", { class: "value", title: `${line.value} ${line.unit}` }, amount(line.value), " ", h("small", {}, line.unit)),
    line.formula && h("span", { class: "formula" }, "= ", heading(line.formula)), rule(line, sources)];
  if (!line.parts.length) return h("div", { class: "leaf" }, said);
  const fold = h("details", { class: "line" }, h("summary", {}, said));
  const grow = () => {
    if (fold.open && fold.children.length === 1) fold.append(...line.parts.map((part) => tree(part, sources)));
  };
  fold.addEventListener("toggle", grow);
  fold.open = open;
  grow();
  return fold;
}

function rule(line, sources) {
  const cited = [...new Set(line.source)].map((name) => ({ name, ...(sources[name] ?? {}) }));
  if (!line.rule && !cited.length) return null;
  return h("span", { class: "rule" }, heading(line.rule ?? "").toLowerCase(), cited.map((found) => h("cite", {
    class: found.status ?? "", title: [found.title, found.url, found.status].filter(Boolean).join("\n"),
  }, found.name)));
}
