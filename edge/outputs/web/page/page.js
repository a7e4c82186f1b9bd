import { Drawing } from "./drawing.js";
import { LiveMap } from "./map.js";
import { Plot } from "./plots.js";

const SPANS = [1, 2, 5, 10], KEPT = 60, ROWS = 600, EVENTS = 20000;
const STATUS_MS = 1000, AGAIN_MS = 1500, PATIENCE_MS = 15000;
const at = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const history = { t: [], fps: [], age_p50_ms: [], age_p99_ms: [], rss_mib: [], available_mib: [], temperature_c: [], cpu_load: [], gpu_load: [], cpu: [], gpu: [] };
const rows = new Map(), drawing = new Drawing(at("frame")), whole = new Drawing(at("whole")), map = new LiveMap(at("map"));
let paused = false, run = null, farewell = null, changed = 0, told = 0, faces = 0, events = [];

const plots = [
  ["Speed", "FPS", [["fps", "frames"]]],
  ["Age of a result", "ms", [["age_p50_ms", "p50"], ["age_p99_ms", "p99"]]],
  ["Memory of the process", "MiB", [["rss_mib", "RSS"]]],
  ["Temperature", "°C", [["temperature_c", "hottest"]]],
  ["Load", "%", [["cpu", "CPU"], ["gpu", "GPU"]]],
].map(([title, unit, series]) => new Plot(at("sheets"), title, unit, series));

async function ask(path) {
  // Not as a plain path: where user and token stand in the address bar, browsers refuse to fetch what is relative to it.
  const answer = await fetch(new URL(path, location.href), { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer;
}

function show(state, said, detail = "") {
  at("state").dataset.state = state;
  if (at("state").textContent !== state) at("state").textContent = state;
  at("signal").hidden = state === "live" || state === "ended";
  at("signal").textContent = state === "offline" ? "No connection to the runtime" : `No signal: ${state}${detail ? `. ${detail}` : ""}`;
  at("alert").hidden = !said;
  if (said && at("alert").textContent !== said) at("alert").textContent = said;
  at("ended").hidden = state !== "ended" || Boolean(said);
}

function showEnd() {
  at("ended").textContent = farewell.said;
  show("ended", farewell.failed ? farewell.said : "");
  at("pause").disabled = true;
}

// The picture: each is asked for when the one before is shown, so that a slow link shows fewer, never older ones.
async function film() {
  let number = 0, shown = null;
  for (;;) {
    if (paused || document.hidden) { await pause(200); continue; }
    try {
      const answer = await ask(`live.jpg?plain&after=${number}`);
      if (answer.status === 204) continue;
      number = Number(answer.headers.get("x-picture"));
      const found = JSON.parse(answer.headers.get("x-drawing"));
      const url = URL.createObjectURL(await answer.blob());
      // Made ready aside, so that picture and drawing change at once.
      const picture = at("picture").cloneNode();
      picture.src = url;
      await picture.decode().catch(() => {});
      picture.width = picture.naturalWidth || picture.width;
      picture.height = picture.naturalHeight || picture.height;
      at("picture").replaceWith(picture);
      drawing.draw(found);
      at("about").textContent = `frame ${found.frame} · ${found.age_ms} ms`;
      if (shown) URL.revokeObjectURL(shown);
      shown = url;
    } catch {
      number = 0;
      await pause(AGAIN_MS);
    }
  }
}

function tile(name, value, unit, note) {
  const word = typeof value === "string" && !/^[\d.]*$/.test(value);
  const box = document.createElement("div"), term = document.createElement("dt"), data = document.createElement("dd");
  term.textContent = name;
  data.textContent = value === null || value === undefined ? "–" : `${value}${unit}`;
  if (word) data.className = "word";
  if (note) data.append(Object.assign(document.createElement("small"), { textContent: note }));
  box.append(term, data);
  return box;
}

function tiles(status) {
  const machine = status.machine ?? {}, memory = machine.memory, age = status.age_ms ?? {};
  const percent = (share) => (share === null || share === undefined ? null : Math.round(share * 100));
  const made = [
    tile("Speed", status.fps.toFixed(1), " FPS", `${status.frames} frames, ${status.dropped ?? 0} dropped`),
    tile("Age", age.p50 === undefined ? null : age.p50.toFixed(0), " ms", age.p99 === undefined ? "" : `p99 ${age.p99.toFixed(0)} ms`),
    tile("Memory", machine.rss_mib === undefined ? null : Math.round(machine.rss_mib), " MiB", memory ? `${memory.available_mib} of ${memory.total_mib} MiB free` : ""),
    tile("CPU", percent(machine.cpu_load), " %", ""),
  ];
  if (typeof machine.hottest_c === "number") made.push(tile("Temperature", machine.hottest_c.toFixed(0), " °C", "hottest sensor"));
  if (typeof machine.gpu_load === "number") made.push(tile("GPU", percent(machine.gpu_load), " %", machine.power_mode ?? ""));
  if (machine.power_mw?.VDD_IN) made.push(tile("Power", (machine.power_mw.VDD_IN / 1000).toFixed(1), " W", "whole module"));
  if (typeof machine.throttled === "number") made.push(tile("Throttled", machine.throttled, "", "times since the board started"));
  if (status.feed) made.push(tile("Feed", status.feed.reconnects, " reconnects", `${status.feed.captured} frames came, ${status.feed.damaged} packets lost${status.feed.foreign ? `, ${status.feed.foreign} of others` : ""}`));
  made.push(tile("Engine", status.engine ?? null, "", status.precision ?? ""));
  at("tiles").replaceChildren(...made);
}

function remember(rows) {
  const share = (value) => (value === null ? null : value * 100);
  for (const key of Object.keys(rows)) history[key]?.push(...rows[key]);
  history.cpu.push(...rows.cpu_load.map(share));
  history.gpu.push(...rows.gpu_load.map(share));
  for (const key of Object.keys(history)) history[key].splice(0, Math.max(0, history[key].length - ROWS));
}

function forget() {
  for (const key of Object.keys(history)) history[key].length = 0;
  at("sightings").replaceChildren();
  rows.clear();
  map.forget();
  events = [];
  changed = told = 0;
  farewell = null;
}

async function look() {
  const status = await (await ask(`api/status?since=${history.t[history.t.length - 1] ?? 0}`)).json();
  if (run !== null && run !== status.started_s) {
    run = null;
    forget();
    return look();
  }
  run = status.started_s;
  faces = status.faces;
  at("pause").disabled = false;
  if (farewell) showEnd();
  else show(status.state, status.warning, status.feed?.detail);
  at("source").textContent = status.source ?? "";
  at("total").textContent = `${status.sightings} in all`;
  tiles(status);
  remember(status.history);
  const minutes = (history.t[history.t.length - 1] - history.t[0]) / 60;
  const span = SPANS.find((each) => minutes <= each) ?? SPANS[SPANS.length - 1];
  for (const plot of plots) plot.draw(history, span);
  if (status.changed > changed) await sighted();
  if (status.events > told) await listen();
  map.pose(status.pose);
  map.draw();
}

let looking = Promise.resolve();
const lookAgain = () => (looking = looking.catch(() => {}).then(look));

async function watch() {
  for (;;) {
    try {
      await lookAgain();
    } catch (error) {
      if (farewell) showEnd();
      else show("offline", `No answer from the runtime (${error.message}); trying again.`);
      await pause(AGAIN_MS);
    }
    await pause(STATUS_MS);
  }
}

// The run says when it ends, and waits a moment for those who take the last of it.
async function awaitEnd() {
  for (;;) {
    try {
      const answer = await ask("api/end");
      if (answer.status === 204) continue;
      farewell = await answer.json();
      showEnd();
      await lookAgain();
      await ask("api/end?taken");
    } catch {
      await pause(AGAIN_MS);
    }
  }
}

async function listen() {
  const answer = await ask(`events.jsonl?after=${told}`);
  const lines = (await answer.text()).split("\n").filter(Boolean);
  told = Number(answer.headers.get("x-events"));
  events.push(...lines);
  for (const line of lines) map.event(JSON.parse(line));
  events.splice(0, Math.max(0, events.length - EVENTS));
  at("download").disabled = !events.length;
}

async function sighted() {
  const { sightings } = await (await ask(`api/sightings?changed=${changed}`)).json();
  for (const sighting of sightings.reverse()) {
    changed = Math.max(changed, sighting.changed);
    const row = rows.get(sighting.number);
    if (row) {
      fill(row, sighting);
      continue;
    }
    rows.set(sighting.number, item(sighting));
    at("sightings").prepend(rows.get(sighting.number));
    at("announce").textContent = `${sighting.label}, ${Math.round(sighting.confidence * 100)} percent`;
    at("none").hidden = true;
  }
  for (const number of [...rows.keys()].slice(0, -KEPT)) {
    rows.get(number).remove();
    rows.delete(number);
  }
}

function item(sighting) {
  const row = document.createElement("li"), link = document.createElement("a"), crop = document.createElement("img"), text = document.createElement("div"), face = document.createElement("img");
  crop.width = crop.height = 64;
  link.append(crop);
  text.append(document.createElement("strong"), document.createElement("small"));
  face.className = "face";
  face.alt = "";
  row.append(link, text, face);
  fill(row, sighting);
  return row;
}

function fill(row, sighting) {
  const link = row.querySelector("a"), crop = row.querySelector("img"), time = new Date(sighting.seen_s * 1000).toLocaleTimeString();
  crop.src = sighting.crop;
  crop.alt = `${sighting.label}: show the whole frame`;
  link.href = sighting.whole;
  link.onclick = (event) => {
    event.preventDefault();
    open(sighting, time);
  };
  row.querySelector("strong").textContent = sighting.label;
  const face = row.querySelector(".face"), url = `faces/${sighting.class_id}.png`;
  face.hidden = sighting.class_id >= faces;
  if (!face.hidden && face.getAttribute("src") !== url) face.src = url;
  row.querySelector("small").textContent = about(sighting, time);
}

const about = (sighting, time) => `${Math.round(sighting.confidence * 100)} % · ${time} · ${sighting.still ?? `frame ${sighting.frame}`}`;

function open(sighting, time) {
  const [x1, y1, x2, y2] = sighting.box_xyxy, picture = at("whole-picture");
  at("sight-name").textContent = sighting.label;
  at("sight-more").textContent = about(sighting, time);
  whole.draw(null);
  [picture.width, picture.height] = sighting.size_wh;
  picture.onload = () => whole.draw({ size_wh: sighting.size_wh, unsure: [], signs: [[sighting.label, Math.round(sighting.confidence * 100), sighting.quad_xy?.flat() ?? [x1, y1, x2, y1, x2, y2, x1, y2]]] });
  picture.onerror = () => { at("sight-more").textContent = `${about(sighting, time)}. Its whole frame is not kept any more.`; };
  picture.src = sighting.whole;
  at("sight").showModal();
}

at("close").addEventListener("click", () => at("sight").close());

at("download").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob(events.map((line) => `${line}\n`), { type: "application/jsonl" }));
  Object.assign(document.createElement("a"), { href: url, download: "events.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), AGAIN_MS);
});

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Show picture" : "Pause picture";
});

film();
watch();
awaitEnd();
