/* What wants my attention? Alerts of the monitor, newest first; an alert that is acknowledged stays, but is quiet. */

import * as api from "../api.js";
import { button, choice, field, fill, h } from "../dom.js";
import { change, get, watch } from "../store.js";
import { figure, heading } from "../words.js";
import { aged, problem, section, waiting } from "../widgets/parts.js";
import { table } from "../widgets/table.js";

const STATES = [["", "all"], ["open", "open"], ["acknowledged", "acknowledged"], ["cleared", "cleared"]];

/** Draws the alerts; gives what to do when they are left. */
export async function render(main) {
  let state = "open";
  const told = h("div", { role: "status", "aria-live": "polite" });
  const list = table([
    { title: "raised", kind: "words", cell: (row) => aged(row.raised_at), order: (row) => row.raised_at },
    { title: "severity", kind: "words", cell: (row) => h("span",
      { class: `status ${row.severity === "critical" ? "liquidation" : "warning"}` }, row.severity),
        order: (row) => row.severity },
    { title: "account", kind: "words", cell: (row) => (place(row) ? h("a", { href: place(row) },
      row.account) : "the monitor itself"), order: (row) => row.account },
    { title: "what", kind: "words wide", cell: (row) => row.words, order: (row) => row.kind, exact: (row) => `rule ${row.rule}` },
    { title: "figure", kind: "number", cell: (row) => figure(row.kind, row.value), exact: (row) => row.value },
    { title: "limit", kind: "number", cell: (row) => figure(row.kind, row.limit), exact: (row) => row.limit },
    { title: "state", kind: "words", cell: (row) => [stateOf(row),
      row.acknowledged_by && h("span", { class: "dim" }, ` by ${row.acknowledged_by}`)], order: stateOf },
    { title: "", cell: (row) => (stateOf(row) === "open" ? button("Acknowledge", () => acknowledge(row)) : "") },
  ], { label: "Alerts", stack: true, rows: [], key: (row) => row.id, opens: (row) => place(row) && (location.hash = place(row)),
    search: (row) => Object.values(row).join(" "),
    empty: "No alert. The monitor raises one when an account nears a level, data goes stale, or rules change." });
  const search = h("input", { type: "search", placeholder: "Search alerts  ( / )", "aria-label": "Search alerts",
    on: { input: () => list.filter(search.value) } });
  const rules = h("div");
  fill(main, h("h1", {}, "Alerts"), h("div", { class: "bar" }, search, field("Show", choice(STATES, state, (next) => {
    state = next;
    load();
  })), button("Send a test alert", test)), told,
  h("section", { class: "card", "aria-label": "List of alerts" }, list.element), section("Rules", rules));

  async function load() {
    try {
      const found = await api.call("GET", `/v1/alerts${state ? `?state=${state}` : ""}`);
      if (state === "open") change({ alerts: found.alerts });
      list.update(found.alerts);
    } catch (error) {
      fill(told, problem(error));
    }
  }

  async function acknowledge(row) {
    try {
      await api.call("POST", `/v1/alerts/${encodeURIComponent(row.id)}/acknowledge`, {});
      fill(told, `Acknowledged: ${row.words}`);
    } catch (error) {
      fill(told, problem(error));
    }
    await load();
    change({ alerts: get().alerts.filter((each) => each.id !== row.id) });
  }

  async function test() {
    try {
      const { channels } = await api.call("POST", "/v1/alerts/test", {});
      fill(told, h("ul", {}, Object.entries(channels).map(([name, found]) =>
        h("li", {}, `${name}: ${found.sent ? "the test message arrived" : `not sent, ${found.why}`}`))));
    } catch (error) {
      fill(told, problem(error));
    }
  }

  ruleEditor(rules, told);
  // newest first from the service; a new alert on the stream asks again
  const stop = watch((_, fields) => fields.includes("alerts") && state === "open" && list.update(get().alerts));
  await load();
  return stop;
}

/** The rules, with one line to add another; the service takes the whole list at once, in the place of the one seen. */
async function ruleEditor(place, told) {
  let found;
  let etag;
  const put = async (changed) => {
    try {
      await api.putAlertRules(changed(found.rules), etag);
      fill(told, "The rules are stored; the monitor goes by them from now on.");
      await load();
    } catch (error) {
      if (error.status === 412) await load();
      fill(told, error.status === 412 ? conflict(changed) : problem(error));
    }
  };
  const conflict = (changed) => h("div", { class: "problem", role: "alert" },
    h("strong", {}, "Somebody else changed the rules meanwhile"),
    h("p", {}, "Nothing of theirs is overwritten: the rules are shown as they are now, without your change."),
    h("div", { class: "bar" }, button("Make my change to these", () => put(changed))));
  const load = async () => {
    await waiting(place, async () => {
      ({ found, etag } = await api.alertRules());
      const { kinds } = found;
      const always = found.watched.filter((rule) => !found.rules.some((own) => own.id === rule.id));
      const list = table([
        { title: "rule", kind: "words", cell: (row) => row.id },
        { title: "watches", kind: "words wide", cell: (row) => kinds[row.kind].words },
        { title: "alert when", kind: "words", cell: (row) => `at or ${kinds[row.kind].harm} ${row.limit ? figure(row.kind, row.limit) : "its usual limit"}` },
        { title: "accounts", kind: "words", cell: (row) => row.accounts.join(", ") },
        { title: "", cell: (row) => (always.includes(row) ? h("span", { class: "dim" }, "always")
          : button("Remove", () => put((rules) => rules.filter((own) => own.id !== row.id)), { class: "plain" })) },
      ], { label: "Rules", rows: [...found.rules, ...always], key: (row) => row.id, stack: true,
        empty: "No rule yet, so nothing is watched: add one, and stale and unknown data are watched too." });
      return [list.element, adder(kinds, (rule) => put((rules) => [...rules, { id: freeId(rule.kind, rules), ...rule }]))];
    });
  };
  await load();

  function adder(kinds, add) {
    const names = Object.keys(kinds).filter((kind) => kind !== "lag");
    const said = h("p", { class: "dim" }, kinds[names[0]].words);
    const kind = choice(names.map((name) => [name, heading(name)]), names[0], (name) => fill(said, kinds[name].words));
    const limit = h("input", { type: "text", inputmode: "decimal", pattern: "-?(0|[1-9][0-9]*)([.][0-9]+)?",
      placeholder: "as usual" });
    const accounts = h("input", { type: "text", value: "*", required: true,
      title: "Names of accounts, with * for any; a comma between two" });
    return h("form", { class: "bar", on: { submit: (event) => {
      event.preventDefault();
      add({ kind: kind.value, ...(limit.value && { limit: limit.value }),
        accounts: accounts.value.split(",").map((name) => name.trim()) });
    } } }, field("Watch", kind), field("Limit", limit), field("Accounts", accounts),
      h("button", { class: "primary" }, "Add the rule"), said);
  }
}

/** An id that no rule has: the kind, or the kind with a number. */
function freeId(kind, rules) {
  const taken = new Set(rules.map((rule) => rule.id));
  return [kind, ...rules.map((_, at) => `${kind}-${at + 2}`)].find((name) => !taken.has(name));
}

const stateOf = (row) => (row.cleared_at ? "cleared" : row.acknowledged_at ? "acknowledged" : "open");

/** Where an alert's account is shown; what the monitor says of itself, under a name in brackets, has no place. */
const place = (row) => (row.account.startsWith("(") ? null : `#/account/${encodeURIComponent(row.account)}`);
