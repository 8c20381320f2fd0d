/* The live stream: reconnects by itself, waits longer each time, and says when the data stands still. */

import { change } from "./store.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const SILENCE = 45000; // the service pings; a stream that is silent this long is taken for dead

let socket = null;
let wait = FIRST_WAIT;
let silence = null;
let retry = null;

function lost() {
  clearTimeout(silence);
  socket = null;
  change({ connection: "lost" });
  clearTimeout(retry);
  // spread out, so that a room of screens does not come back at one instant
  retry = setTimeout(connect, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

let receive = () => {};

function connect() {
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
  socket = mine;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => mine.close(), SILENCE);
    change({ connection: "live", heard: Date.now() });
  };
  mine.addEventListener("open", () => {
    wait = FIRST_WAIT;
    heard();
    receive({ type: "connected" });
  });
  mine.addEventListener("message", (event) => {
    heard();
    const message = JSON.parse(event.data);
    if (message.type !== "ping") receive(message);
  });
  mine.addEventListener("close", () => mine === socket && lost());
}

/** Starts the stream; `handler` gets each message, and {type: "connected"} after every (re)connection. */
export function start(handler) {
  receive = handler;
  addEventListener("online", now);
  now();
}

/** Tries again at once. */
export function now() {
  if (socket) return;
  clearTimeout(retry);
  wait = FIRST_WAIT;
  connect();
}
