import { Drawing } from "./drawing.js";

const PATIENCE_MS = 15000, RIVALS = 2, MIXED = "mixed";
const at = (id) => document.getElementById(id);
const drawing = new Drawing(at("frame"));
const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

let items = new Map(), labels = [], next = "", queue = [], skipped = [], busy = null, over = false;
let told = { signs: 0, none: 0, mixed: 0 };

async function ask(path, body) {
  // As a whole address: where user and token stand in the address bar, browsers refuse to fetch what is relative to it.
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(new URL(path, location.href), { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answered ${answer.status}`);
  return answer.json();
}

function alarm(text) {
  at("alert").hidden = !text;
  at("alert").textContent = text;
}

const current = () => items.get(queue[0]);
// Views that were named differently may show several signs: one verdict would teach a wrong name.
const differs = (item) => new Set(item?.views.map((view) => view.named[0])).size > 1;
const address = (item, number, kind) => `views/${item.name}/${number}.${kind}`;

function show() {
  const item = current(), done = told.signs + told.none + told.mixed;
  at("progress").textContent = `${done} of ${items.size} judged`;
  at("bar").max = items.size;
  at("bar").value = done;
  at("work").hidden = !item || over;
  at("keys").hidden = over;
  at("done").hidden = Boolean(item) && !over;
  at("end").hidden = over;
  for (const id of ["yes", "other", "nosign", "skip"]) at(id).hidden = !item;
  at("rivals").hidden = !item;
  at("mixed").hidden = !differs(item);
  at("undo").disabled = !done;
  if (!item || over) return finished(done);
  const [best, ...others] = item.votes.length ? item.votes : [[item.views[0].named[0]]];
  at("question").textContent = `Is this “${best[0]}”?`;
  at("yes").lastElementChild.textContent = `Yes: ${best[0]}`;
  at("rivals").replaceChildren(...others.slice(0, RIVALS).map(([label], place) => key(`${place + 2}`, label, () => judge(label))));
  at("why").replaceChildren(...item.why.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const thumbs = item.views.map((view, place) => {
    const button = Object.assign(document.createElement("button"), { type: "button" }), picture = new Image();
    picture.src = address(item, place + 1, "png");
    picture.alt = `View ${place + 1}, named ${view.named[0]}`;
    button.append(picture);
    button.title = picture.alt;
    button.addEventListener("click", () => look(item, place));
    return button;
  });
  at("thumbs").replaceChildren(...(thumbs.length > 1 ? thumbs : []));
  look(item, 0);
  ahead(items.get(queue[1]));
}

function key(letter, text, act) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(Object.assign(document.createElement("kbd"), { textContent: letter }), Object.assign(document.createElement("span"), { textContent: text }));
  button.addEventListener("click", act);
  return button;
}

/** Shows one view of an item: the crop large, and where it is in its frame. */
function look(item, place) {
  const view = item.views[place], [label, percent, corners] = view.named;
  [...at("thumbs").children].forEach((button, turn) => button.setAttribute("aria-pressed", String(turn === place)));
  at("crop-picture").src = address(item, place + 1, "png");
  at("crop-picture").alt = `The sign, named ${label} with ${percent} %`;
  const picture = at("picture");
  drawing.draw(null);
  [picture.width, picture.height] = view.size_wh;
  picture.onload = () => drawing.draw({ size_wh: view.size_wh, unsure: view.others.map((other) => other[2]), signs: [[label, percent, corners]] });
  picture.src = address(item, place + 1, "jpg");
  const pose = view.pose, where = pose?.lat == null ? "" : `${pose.lat.toFixed(5)}, ${pose.lon.toFixed(5)}, ${Math.round(pose.alt_m ?? 0)} m`;
  const when = view.time ? new Date(view.time).toLocaleString() : view.media_s == null ? "" : `${view.media_s.toFixed(1)} s`;
  at("about").textContent = [view.still ?? `frame ${view.frame}`, when, where, view.others.length ? "yellow: what else was seen" : ""].filter(Boolean).join(" · ");
}

/** Has the browser fetch what will be shown next. */
function ahead(item) {
  for (const kind of item ? ["png", "jpg"] : []) new Image().src = address(item, 1, kind);
}

function finished(done) {
  const left = items.size - done;
  at("done-title").textContent = over ? "The review is closed" : left ? `${count(left, "item")} skipped` : "All is judged";
  at("done-more").textContent = `${count(told.signs, "sign")}, ${told.none} that are none${told.mixed ? `, ${told.mixed} mixed` : ""}. All of it is kept${left ? "; open the review again to go on" : ""}.${done ? " Learn on with it:" : ""}`;
  at("next").textContent = done ? next : "";
  at("again").hidden = over || !skipped.length;
}

/** Does one thing at a time. A verdict that comes before the next sign is shown is not meant for it, and is dropped; what else comes waits. */
async function doing(act, waits = true) {
  while (busy && waits) await busy;
  if (busy || over) return;
  let done;
  busy = new Promise((resolve) => { done = resolve; });
  try {
    await act();
    alarm("");
  } catch (error) {
    alarm(`Not kept: ${error.message}`);
  }
  busy = null;
  show();
  done();
}

const judge = (label) => doing(async () => {
  const item = current();
  if (!item) return;
  told = await ask("api/judge", { name: item.name, label });
  item.label = label;
  if (label && label !== MIXED && !labels.includes(label)) labels.push(label);
  queue.shift();
}, false);

const undo = () => doing(async () => {
  const { name, ...counts } = await ask("api/undo", {});
  told = counts;
  if (name === null) return;
  skipped = skipped.filter((other) => other !== name);
  if (items.has(name)) queue = [name, ...queue.filter((other) => other !== name)];
});

function skip() {
  if (busy || !current()) return;
  skipped.push(queue.shift());
  show();
}

const end = () => doing(async () => {
  await ask("api/end", {});
  over = true;
});

// The choice of another class: what is typed filters, Enter takes the first.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function offered() {
  const typed = at("typed").value.trim(), words = plain(typed).split(/\s+/).filter(Boolean);
  const fit = labels.filter((label) => words.every((word) => plain(label).includes(word)));
  const starts = (label) => plain(label).startsWith(plain(typed)) ? 0 : 1;
  const made = fit.sort((one, other) => starts(one) - starts(other)).map((label) => [label, label]);
  if (typed && !labels.some((label) => plain(label) === plain(typed))) made.push([typed, `A new class: “${typed}”`]);
  at("names").replaceChildren(...made.map(([label, text]) => {
    const row = document.createElement("li"), button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => chosen(label));
    row.append(button);
    return row;
  }));
}

function choose() {
  if (!current() || over) return;
  at("typed").value = "";
  offered();
  at("choose").showModal();
  at("typed").focus();
}

function chosen(label) {
  at("choose").close();
  judge(label);
}

at("typed").addEventListener("input", offered);
at("typed").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  at("names").querySelector("button")?.click();
});
at("close").addEventListener("click", () => at("choose").close());

const yes = () => current() && judge((current().votes[0] ?? [current().views[0].named[0]])[0]);
at("yes").addEventListener("click", yes);
at("other").addEventListener("click", choose);
at("nosign").addEventListener("click", () => judge(""));
const mixed = () => differs(current()) && judge(MIXED);
at("mixed").addEventListener("click", mixed);
at("skip").addEventListener("click", skip);
at("undo").addEventListener("click", undo);
at("end").addEventListener("click", end);
at("again").addEventListener("click", () => {
  [queue, skipped] = [skipped, []];
  show();
});

// What was clicked keeps the focus, and Enter would click it once more where a person means yes.
at("keys").addEventListener("click", (event) => event.detail && document.activeElement?.blur());

document.addEventListener("keydown", (event) => {
  if (at("choose").open || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const pressed = event.key.toLowerCase(), onButton = event.target.closest?.("button");
  if (["enter", " "].includes(pressed) && onButton) return; // that button's own
  const acts = { enter: yes, y: yes, n: () => current() && judge(""), m: mixed, s: skip, arrowright: skip, u: undo, backspace: undo, c: choose, "/": choose };
  const act = acts[pressed] ?? (/^[2-9]$/.test(pressed) ? () => at("rivals").children[Number(pressed) - 2]?.click() : null);
  if (!act) return;
  event.preventDefault();
  act();
});

try {
  const all = await ask("api/items");
  items = new Map(all.items.map((item) => [item.name, item]));
  labels = all.labels;
  next = all.next;
  queue = all.items.filter((item) => item.label === null).map((item) => item.name);
  const judged = all.items.filter((item) => item.label !== null);
  const counted = (fits) => judged.filter((item) => fits(item.label)).length;
  told = { signs: counted((label) => label && label !== MIXED), none: counted((label) => !label), mixed: counted((label) => label === MIXED) };
  show();
} catch (error) {
  alarm(`No answer from the review (${error.message}): open it again`);
}
