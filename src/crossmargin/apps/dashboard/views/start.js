/* What do I do first? Nothing stored yet, or only the examples: what this page is and the next steps. */

import { button, h } from "../dom.js";

const SEEN = "crossmargin-welcomed";
const EXAMPLES = /^article-/;

/** The welcome above the overview; nothing once it was dismissed and there are accounts. */
export function welcome(accounts) {
  const none = accounts.length === 0;
  const examples = accounts.some((row) => EXAMPLES.test(row.id));
  if (!none && (!examples || localStorage.getItem(SEEN))) return null;
  const box = h("section", { class: "card welcome", "aria-labelledby": "welcome" },
    h("h2", { id: "welcome" }, none ? "No accounts yet" : "Welcome: these are example accounts"),
    h("p", {}, none
      ? "This page shows where your futures accounts stand, and which move of the market liquidates them first. " +
        "It needs one account file to begin."
      : "The same 2,000 USDT, once as one cross pool and once cut into isolated pockets, and an account that is " +
        "liquidatable as it stands, and a few more. Everything on this page works on them."),
    h("ol", {}, none ? null : h("li", {}, "Open an account (", h("kbd", {}, "j"), " and ", h("kbd", {}, "Enter"),
      ") to see what kills it, line by line."), none ? null : h("li", {},
        "Drag the market above the table and see which account breaks first."),
      h("li", {}, h("a", { href: "#/import" }, "Import your own account"),
        ": drop an account file, or what your venue's API answered."),
      h("li", {}, "Or from a terminal: ", h("code", {}, "crossmargin import binance FILE"), " makes an account file; ",
        h("code", {}, "crossmargin monitor"), " keeps watching it.")),
    !none && button("Got it", () => {
      localStorage.setItem(SEEN, "yes");
      box.remove();
    }));
  return box;
}
