/* What would have become of this account in this history? Scrub through it, close by close. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import { drop, rowsOf } from "../files.js";
import { get } from "../store.js";
import * as words from "../words.js";
import { answer } from "../widgets/figure.js";
import { notes, problem, section, verdict } from "../widgets/parts.js";

const SAMPLE = "october-2025.csv";
const MODES = [["as_held", "as held"], ["cross", "cross"], ["isolated", "isolated"]];

/** Draws the replay; `rest` may name the account. */
export async function render(place, [id], wanted) {
  const accounts = get().accounts ?? (await api.accounts());
  if (!accounts.length) {
    fill(place, h("h1", {}, "Replay"), h("p", {}, "A replay needs an account. ", h("a", { href: "#/import" }, "Import one"),
      " first."));
    return;
  }
  const asked = { account: id ?? accounts[0].id, modes: new Set(["as_held"]), enter: true, rows: null };
  const out = h("div");
  const history = h("output", {}, "10–11 October 2025, hourly, BTC, ETH and SOL");
  const run = async () => {
    fill(out, h("p", { class: "dim wait" }, "replaying …"));
    try {
      asked.rows ??= rowsOf(await (await fetch(`/static/samples/${SAMPLE}`)).text());
      const subject = { account_id: asked.account, history: asked.rows };
      const options = { mode: [...asked.modes], enter: asked.enter };
      const [found, drawn] = await Promise.all([api.ask("replay", subject, options), api.figures("replay", subject, options)]);
      if (wanted()) fill(out, scrubber(found.runs), section("Through time", answer(drawn)));
    } catch (error) {
      fill(out, problem(error));
    }
  };
  const take = async ([file]) => {
    asked.rows = rowsOf(await file.text());
    history.textContent = `${file.name}, ${asked.rows.length} bars`;
    run();
  };
  fill(place, h("h1", {}, "Replay"), h("section", { class: "card" }, h("div", { class: "bar" },
    field("Account", choice(accounts.map((row) => [row.id, row.title || row.id]), asked.account,
      (next) => (asked.account = next))),
    h("fieldset", {}, h("legend", {}, "Modes side by side"), MODES.map(([mode, title]) => h("label", { class: "check" },
      h("input", { type: "checkbox", checked: asked.modes.has(mode), on: { change: (event) =>
        (event.target.checked ? asked.modes.add(mode) : asked.modes.delete(mode)) } }), ` ${title}`))),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: true,
      on: { change: (event) => (asked.enter = event.target.checked) } }),
      " enter at the first close"), button("Replay", run, { class: "primary" })),
  h("div", { class: "bar" }, h("span", { class: "dim" }, "History: ", history),
    drop("another, as CSV", take, { accept: ".csv" }))), out);
  await run();
}

/** A slider over the closes: what each run was worth there, and what the venue had done until then. */
function scrubber(runs) {
  const ran = runs.filter((each) => each.points.length);
  const last = Math.max(0, ...ran.map((each) => each.points.length - 1));
  const told = verdict("", "");
  const body = h("tbody");
  const when = h("output", {});
  const input = h("input", { type: "range", min: 0, max: last, step: 1, value: 0, "aria-label": "Close",
    on: { input: () => show(Number(input.value)) } });
  const name = (each) => `${each.profile}, ${words.heading(each.mode)}`;

  function show(at) {
    const time = ran.find((each) => each.points[at])?.points[at].time;
    when.textContent = words.moment(time);
    input.setAttribute("aria-valuetext", when.textContent);
    const lines = ran.map((each) => ({ run: each, point: each.points[Math.min(at, each.points.length - 1)],
      events: each.liquidations.filter((event) => event.time <= time) }));
    const dead = lines.filter((line) => line.events.length);
    const eventWords = (event) => `${event.pool} liquidated ${words.moment(event.time)}`;
    const fates = dead.map(({ run, events }) => `${name(run)}: ${events.map(eventWords).join("; ")}.`);
    told.textContent = fates.join(" ") || "Nothing is liquidated until here.";
    told.className = `verdict ${dead.length ? "liquidation" : "healthy"}`;
    fill(body, lines.map(({ run, point, events }) => h("tr", { class: events.length ? "liquidation" : "" },
      h("th", { scope: "row" }, name(run)),
      [point.equity, point.headroom, point.initial_margin, point.funding].map((value) => h("td",
        { class: "number", title: value }, words.amount(value))),
      h("td", { class: "words" }, run.currency), h("td", { class: "words" },
        events.length ? events.map((event) => event.pool).join(", ") : "–"))));
  }

  const element = section("At this close", h("div", { class: "slide" }, input, when), told,
    h("div", { class: "scroll" }, h("table", { class: "grid" },
    h("caption", { class: "hidden" }, "At this close"), h("thead", {},
      h("tr", {}, ["rules and mode", "equity", "headroom", "initial margin", "funding so far", "in", "liquidated so far"]
      .map((title, at) => h("th", { scope: "col", class: at > 0 && at < 5 ? "number" : "words" }, title)))), body)),
  runs.filter((each) => each.reasons.length).map((each) => h("p", { class: "problem" },
    `${name(each)}: ${each.reasons.join("; ")}`)),
  notes(runs.flatMap((each) => each.notes)));
  element.classList.add("scrub");
  if (ran.length) show(0);
  return element;
}
