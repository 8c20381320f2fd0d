/* What does the account's file say, and how do I change it? Stored only over what was seen: nobody overwrites another. */

import * as api from "../api.js";
import { button, field, fill, h } from "../dom.js";
import { indented } from "../files.js";
import { heading } from "../words.js";
import { problem, section } from "../widgets/parts.js";

const MARKET = ["market", "as_of"]; // what prices change by themselves, under whoever edits

/** Draws the tab; gives what looks again when the account has another snapshot. */
export async function fileOf(place, { id }) {
  let opened = await api.stored(id);
  const text = h("textarea", { rows: "26", spellcheck: "false", class: "code", value: indented(opened.text) });
  const told = h("div", { role: "status", "aria-live": "polite" });
  const touched = () => text.value !== indented(opened.text);

  function show(file) {
    opened = file;
    text.value = indented(file.text);
    fill(told);
  }

  async function save(etag = opened.etag, mine = text.value) {
    try {
      const { snapshot } = await api.putAccount(id, mine, etag ? { etag } : { fresh: true });
      show({ text: mine, etag: `"${snapshot}"` });
      fill(told, h("p", { class: "done" }, "Stored. Every page that shows this account has been told."));
    } catch (error) {
      if (error.status === 412) await again();
      else fill(told, problem(error));
    }
  }

  /** Somebody was first: prices alone are taken over, all else is for whoever edits to decide. */
  async function again() {
    const theirs = await theirsNow();
    const newer = theirs && withMarketOf(opened.text, text.value, theirs.text);
    if (newer) await save(theirs.etag, newer);
    else fill(told, conflict(theirs));
  }

  /** The account as it is now; null where it was removed. */
  async function theirsNow() {
    try {
      return await api.stored(id);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  const conflict = (theirs) => h("div", { class: "problem", role: "alert" },
    h("strong", {}, theirs ? "Somebody else changed this account while you were editing" : "Somebody else removed this account"),
    h("p", {}, theirs && `Changed there: ${changed(opened.text, theirs.text).map(heading).join(", ")}. `,
      "Nothing of theirs is overwritten, and your text is still here."),
    h("div", { class: "bar" }, theirs && button("Show theirs, drop mine", () => show(theirs)),
      button(theirs ? "Store mine over theirs" : "Store mine anew", () => save(theirs?.etag ?? null), { class: "danger" })));

  fill(place, section("The account file", h("p", {}, "As it is stored, with the keys of an account file. " +
    "It is judged before it is stored, and what stood before stays in the history."), told,
  h("form", { on: { submit: (event) => {
    event.preventDefault();
    save();
  } } }, field("JSON", text), h("div", { class: "bar" }, h("button", { class: "primary" }, "Store"),
    button("Undo my changes", () => show(opened))))));

  return async () => {
    const theirs = await theirsNow();
    if (theirs?.etag === opened.etag) return;
    if (theirs && !touched()) show(theirs);
    else if (!theirs || changed(opened.text, theirs.text).some((name) => !MARKET.includes(name))) fill(told, conflict(theirs));
  };
}

/** The entries in which two files differ. */
function changed(before, after) {
  const [a, b] = [JSON.parse(before), JSON.parse(after)];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

/** My text with their newer prices, where they changed nothing else, I changed no price, and no digit is lost; else null. */
function withMarketOf(opened, mine, theirs) {
  const isMarket = (name) => MARKET.includes(name);
  if (!changed(opened, theirs).every(isMarket) || changed(opened, mine).some(isMarket)) return null;
  const value = JSON.parse(mine);
  if (indented(JSON.stringify(value)) !== indented(mine)) return null; // a number that a float cannot hold
  const { market, as_of } = JSON.parse(theirs);
  return JSON.stringify({ ...value, market, as_of });
}
