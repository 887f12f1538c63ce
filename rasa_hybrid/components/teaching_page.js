// The teaching page: it shows what the server says of a dialogue, and sends what the teacher decides.
import { $, ask as askServer, attempting, el, kept, tell } from "./shared.js";

const base = location.pathname.replace(/\/+$/, "");
let token = kept.getItem("token") || "";
let state = null;
let open = null; // the slot whose editor is open

const percent = (chance) =>
  chance > 0.995 ? "100 %" : chance < 0.005 ? "0 %" : `${Math.round(chance * 100)} %`;

const ask = (method, path, body) => askServer(method, `${base}/api/dialogues${path}`, token, body,
  "The server does not answer. What you did so far is kept.");

const attempt = attempting(async (status) => {
  if (status === 401) { signOut(); }
  if (status === 404) { await choose(); }
});

const step = (name, body) => attempt(async () => {
  show(await ask("POST", `/${state.conversation}/${name}`, body || {}));
});

// --- beginning and end ---------------------------------------------------------------------------

function signOut() {
  token = "";
  kept.clear();
  view("start");
  $("sign-in").hidden = false;
  $("choice").hidden = true;
  $("token").focus();
}

function view(name) {
  for (const id of ["start", "lesson"]) $(id).hidden = id !== name;
  $("tools").hidden = name !== "lesson";
}

async function choose() {
  const { unfinished } = await ask("GET", "");
  state = null;
  kept.removeItem("conversation");
  view("start");
  $("sign-in").hidden = true;
  $("choice").hidden = false;
  $("unfinished").hidden = !unfinished.length;
  $("unfinished").querySelector("ul").replaceChildren(...unfinished.map((dialogue) => el("li", {},
    el("button", { type: "button", onclick: () => attempt(() => resume(dialogue.conversation)) },
      `“${dialogue.last}”, ${dialogue.turns === 1 ? "1 turn" : `${dialogue.turns} turns`}`))));
  $("new").focus();
}

async function resume(conversation) {
  show(await ask("GET", `/${conversation}`));
}

async function end(answer) {
  if (answer === "save") {
    const rating = document.querySelector(".rating input:checked");
    const body = rating ? { rating: Number(rating.value) } : {};
    const { file } = await ask("POST", `/${state.conversation}/finish`, body);
    await choose();
    tell(file ? `Kept as ${file}.` : "No turn was finished, so there is nothing to keep.");
  } else if (answer === "discard") {
    await ask("POST", `/${state.conversation}/discard`, {});
    await choose();
    tell("Thrown away.");
  }
}

// --- a turn --------------------------------------------------------------------------------------

function show(now) {
  state = now;
  kept.setItem("conversation", now.conversation);
  view("lesson");
  showChat();
  $("text").disabled = !now.listening;
  $("text").placeholder = now.listening ? "Say something as a user" : "The bot is next";
  $("say").querySelector("button").disabled = !now.listening;
  $("turn").hidden = now.listening;
  $("undo").disabled = !now.chat.length;
  $("hint").textContent = now.listening
    ? "Say something as a user would. The bot stops before it acts."
    : now.correctable
      ? "Is this right? Click on what is wrong. Then choose the action: the first is what the bot would do."
      : "Choose the next action: the first is what the bot would do. To correct the goal, undo first.";
  if (now.listening) {
    open = null;
    $("text").focus({ preventScroll: true });
  } else {
    showGoal();
    showResult();
    showActs();
    if (open === null) $("acts").querySelector("button").focus({ preventScroll: true });
  }
}

function showChat() {
  const lines = state.chat.map((said) => {
    if (said.who === "act") {
      return el("li", { className: `act${said.corrected ? " taught" : ""}` }, said.text);
    }
    const buttons = (said.buttons || []).map((button) => el("button", {
      type: "button", disabled: !state.listening,
      onclick: () => step("say", { text: button.payload || button.title }),
    }, button.title));
    return el("li", { className: said.who }, said.text,
      buttons.length ? el("div", { className: "buttons" }, ...buttons) : null);
  });
  if (!lines.length) lines.push(el("li", { className: "empty" }, "Nothing was said yet."));
  $("chat").replaceChildren(...lines);
  $("chat").scrollTop = $("chat").scrollHeight;
}

/** A button with a bar that is as long as what it stands for is likely. */
function choice(chance, properties, ...children) {
  const button = el("button", { type: "button", ...properties }, ...children);
  button.style.setProperty("--chance", chance);
  return button;
}

function showGoal() {
  $("goal").replaceChildren(...state.turn.goal.map((slot) => {
    const marks = [slot.changed && "changed", slot.taught && "taught", slot.value === "none" && "none"];
    const button = choice(slot.probability, {
      disabled: !state.correctable,
      className: ["choice", ...marks.filter(Boolean)].join(" "),
      onclick: () => { open = open === slot.slot ? null : slot.slot; showGoal(); },
    },
    el("span", { className: "name" }, slot.slot),
    el("span", { className: "value" }, slot.value === "none" ? "not said" : slot.value),
    el("span", { className: "chance" }, slot.taught ? "yours" : percent(slot.probability)));
    button.setAttribute("aria-expanded", String(open === slot.slot));
    return el("li", {}, button, open === slot.slot ? editor(slot) : null);
  }));
  const field = $("goal").querySelector("input");
  if (field) field.focus();
}

/** Likely values, none, anything, or another one. */
function editor(slot) {
  const set = (value) => { open = null; step("goal", { slot: slot.slot, value }); };
  const other = (value) => value !== slot.value && value !== "none" && value !== "dontcare";
  const likely = slot.alternatives.filter(([value]) => other(value));
  const listed = state.values[slot.slot] || [];
  if (listed.length <= 12) {
    const shown = new Set(likely.map(([value]) => value));
    likely.push(...listed.filter((value) => other(value) && !shown.has(value)).map((value) => [value, 0]));
  }
  const values = el("div", { className: "row" },
    ...likely.map(([value, chance]) => el("button", { type: "button", onclick: () => set(value) },
      chance < 0.005 ? value : `${value} ${percent(chance)}`)),
    el("button", { type: "button", onclick: () => set("none") }, "not said"),
    el("button", { type: "button", onclick: () => set("dontcare") }, "anything is fine"));
  const field = el("input", { autocomplete: "off", placeholder: "Another value" });
  field.setAttribute("aria-label", `Another value of ${slot.slot}`);
  field.setAttribute("list", "known");
  const known = el("datalist", { id: "known" },
    ...listed.map((value) => el("option", { value })));
  return el("form", {
    className: "editor",
    onsubmit: (event) => { event.preventDefault(); if (field.value.trim()) set(field.value); },
  }, values, el("div", { className: "row" }, field, el("button", { type: "submit" }, "Set")), known);
}

function showResult() {
  const { query, matches, remaining, entities } = state.turn;
  $("knowledge").hidden = query === null;
  if (query === null) return;
  $("result").textContent = matches === null
    ? "The knowledge base did not answer."
    : matches === 0
      ? "Nothing matches." : `${matches} found, ${remaining} not offered yet.`;
  const columns = entities.length ? Object.keys(entities[0]) : [];
  $("entities").replaceChildren(
    el("tr", {}, ...columns.map((column) => el("th", {}, column))),
    ...entities.map((entity) => el("tr", {}, ...columns.map((column) => el("td", {}, entity[column])))));
}

function showActs() {
  const { acts } = state.turn;
  const likely = acts.filter(([, chance], i) => i < 2 || (i < 6 && chance >= 0.005));
  $("acts").replaceChildren(...likely.map(([action, chance], i) => el("li", {},
    choice(chance, { className: "choice", onclick: () => step("act", { action }) },
      el("kbd", {}, i === 0 ? "Enter" : String(i + 1)),
      el("span", { className: "value" }, action === "action_listen" ? "wait for the user" : action),
      el("span", { className: "chance" }, percent(chance))))));
  const others = acts.slice(likely.length).map(([action]) => action).sort();
  $("other-act").hidden = !others.length;
  $("all-acts").replaceChildren(el("option", { value: "" }, "choose"),
    ...others.map((action) => el("option", { value: action },
      action === "action_listen" ? "wait for the user" : action)));
}

// --- what the teacher does -----------------------------------------------------------------------

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  attempt(async () => { await choose(); kept.setItem("token", token); $("token").value = ""; });
});
$("new").addEventListener("click", () => attempt(async () => show(await ask("POST", "", {}))));
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim()) return;
  attempt(async () => {
    const now = await ask("POST", `/${state.conversation}/say`, { text });
    $("text").value = ""; // kept where the server did not take it
    show(now);
  });
});
$("all-acts").addEventListener("change", (event) => {
  if (event.target.value) step("act", { action: event.target.value });
});
$("undo").addEventListener("click", () => { open = null; step("undo"); });
$("finish").addEventListener("click", () => $("ending").showModal());
$("ending").addEventListener("close", () => attempt(() => end($("ending").returnValue)));
document.querySelector(".rating").append(...[1, 2, 3, 4, 5].map((n) => el("label", {},
  el("input", { type: "radio", name: "rating", value: n }), el("span", {}, String(n)))));

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && open !== null) { open = null; showGoal(); return; }
  const writing = ["INPUT", "SELECT"].includes(event.target.tagName) && !event.target.disabled;
  if (!state || $("lesson").hidden || $("ending").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (writing) return;
  if (event.key === "u") { $("undo").click(); event.preventDefault(); return; }
  if (event.key === "f") { $("finish").click(); event.preventDefault(); return; }
  if (state.listening) return;
  if (event.key === "g") { $("goal").querySelector("button").focus(); event.preventDefault(); return; }
  const acts = [...$("acts").querySelectorAll("button")];
  if (event.key === "Enter" && event.target === document.body) acts[0].click();
  const number = Number(event.key);
  if (number >= 1 && acts[number - 1]) acts[number - 1].click();
});

attempt(async () => {
  if (!token) { signOut(); return; }
  const conversation = kept.getItem("conversation");
  if (conversation) await resume(conversation); else await choose();
});
