/* The only door to the service: questions, figures, accounts, alerts. Every refusal becomes a Problem with its faults. */

/** What the service refused, with each fault's path, value and remedy. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the service answered ${status}`);
    this.status = status;
    this.title = body.title || "Refused";
    this.faults = body.faults ?? [];
  }
}

let csrf = null; // what proves, with the cookie, that a change comes from this page

/** Learns who is signed in; the answer says the mode ("local" or "token"). A Problem of 401 asks to sign in. */
export async function session() {
  const found = await call("GET", "/v1/session");
  csrf = found.csrf;
  return found;
}

/** Signs in with a token; it is kept in a cookie that no script reads. */
export async function signIn(token) {
  csrf = (await call("POST", "/v1/session", { token })).csrf;
}

export async function signOut() {
  await call("DELETE", "/v1/session");
  csrf = null;
}

function headers(method, body) {
  const found = {};
  if (body !== undefined) found["Content-Type"] = "application/json";
  if (method !== "GET") {
    found["Idempotency-Key"] = crypto.randomUUID();
    if (csrf) found["X-CSRF-Token"] = csrf;
  }
  return found;
}

/** One request; `body` is a value, or a text that is JSON already (a file's own digits are never re-read as floats). */
export async function call(method, path, body, { signal, etag } = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const more = etag ? { "If-Match": etag } : {};
  let answer;
  try {
    answer = await fetch(path, { method, body: text, signal, headers: { ...headers(method, text), ...more } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "No connection", detail: "the service does not answer; it is asked again by itself" });
  }
  const type = answer.headers.get("Content-Type") ?? "";
  const read = type.includes("json") ? await answer.json() : {};
  if (!answer.ok) throw new Problem(answer.status, read);
  return read;
}

/** The answer of one question: `subject` is {account} or {account_id} and what else the body names. */
export const ask = (name, subject, options) =>
  call("POST", `/v1/questions/${name}`, { ...subject, ...(options ? { options } : {}) });

/** A question's answer to be shown: {words, figures: [{title, spec, table, note}], tables: [{title, columns, rows}]}. */
export const figures = (name, subject, options) =>
  call("POST", `/v1/figures/${name}`, { ...subject, ...(options ? { options } : {}) });

export const accounts = async () => (await call("GET", "/v1/accounts")).accounts;
export const account = (id) => call("GET", `/v1/accounts/${encodeURIComponent(id)}`);
export const putAccount = (id, file) => call("PUT", `/v1/accounts/${encodeURIComponent(id)}`, file);
export const removeAccount = (id) => call("DELETE", `/v1/accounts/${encodeURIComponent(id)}`);
export const history = (id) => call("GET", `/v1/accounts/${encodeURIComponent(id)}/history`);

/**
 * A runner for controls that fire faster than the service answers: one request in flight, and of those that wait only
 * the last is sent.
 */
export function latest(work) {
  let busy = false;
  let waiting = null;
  return async (...given) => {
    waiting = given;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const next = waiting;
        waiting = null;
        await work(...next);
      }
    } finally {
      busy = false;
    }
  };
}

/** Runs work over items, a few at a time. */
export async function few(items, work, atOnce = 4) {
  const left = [...items];
  await Promise.all(Array.from({ length: Math.min(atOnce, left.length) }, async () => {
    while (left.length) await work(left.shift());
  }));
}
