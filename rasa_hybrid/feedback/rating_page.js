// The page of ratings: it shows a dialogue turn by turn, and sends what the judge says of each.
import { $, ask as askServer, attempting, busy, el, kept, tell } from "./shared.js";

const GRADES = [1, 2, 3, 4, 5];
let token = kept.getItem("token") || "";
let judge = kept.getItem("judge") || "";
let taken = null; // the dialogue, and its ratings so far
let asked = 0; // the turn that is asked about

const ask = (path, body = {}) => askServer("POST", `api/${path}`, token, { judge, ...body },
  "The server does not answer. What you rated so far is kept.");

const attempt = attempting(async (status) => {
  if (status === 401) signOut();
  if (status === 409) await take().catch(() => {});
});

function view(name) {
  for (const id of ["start", "reading", "done"]) $(id).hidden = id !== name;
}

function signOut() {
  token = "";
  kept.clear();
  $("progress").textContent = "";
  view("start");
  $("judge").value = judge;
  (judge ? $("token") : $("judge")).focus();
}

async function take() {
  taken = await ask("take");
  tell("");
  if (taken.dialogue === null) {
    $("progress").textContent = "";
    view("done");
    return;
  }
  const first = taken.ratings.indexOf(null);
  asked = first < 0 ? taken.turns.length : first;
  view("reading");
  $("progress").textContent =
    `Dialogue ${taken.read + 1}, ${taken.left === 0 ? "the last one" : `${taken.left} left`}`;
  show();
}

/** The dialogue up to the turn that is asked about, or to the last rated one. */
function show() {
  const { turns, ratings } = taken;
  const rated = ratings.filter((rating) => rating !== null).length;
  const isOver = asked >= turns.length;
  const lines = turns.slice(0, Math.max(rated, Math.min(asked, turns.length - 1) + 1)).flatMap((turn, i) => [
    ...(turn.user ? [el("li", { className: "user" }, turn.user)] : []),
    el("li", { className: `bot${turn.bot ? "" : " silent"}${i === asked ? " asked" : ""}` },
      turn.bot || "(says nothing)"),
    ...(ratings[i] === null || i === asked ? [] : [el("li", { className: "given" },
      el("button", { type: "button", ariaLabel: `Change the rating of answer ${i + 1}`, onclick: () => back(i) },
        `rated ${ratings[i]}`))]),
  ]);
  $("chat").replaceChildren(...lines);
  const shown = $("chat").querySelector(".asked") || $("chat").lastElementChild;
  shown.scrollIntoView({ block: "nearest" });
  $("question").textContent = isOver ? "That was the dialogue."
    : `How good is the bot’s ${asked === rated ? "last " : ""}answer?`;
  $("grades").hidden = isOver;
  $("next").hidden = !isOver;
  for (const button of $("grades").children) {
    button.setAttribute("aria-pressed", String(Number(button.value) === ratings[asked]));
  }
  if (isOver) $("next").focus({ preventScroll: true });
  else if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
}

function back(turn) {
  if (busy || turn < 0) return;
  asked = turn;
  show();
}

const rate = (rating) => attempt(async () => {
  const answer = await ask("rate", { dialogue: taken.dialogue, turn: asked, rating });
  taken.ratings = answer.ratings;
  const first = taken.ratings.indexOf(null);
  asked = first < 0 ? taken.turns.length : first;
  show();
});

// --- what the judge does -------------------------------------------------------------------------

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  judge = $("judge").value;
  token = $("token").value;
  attempt(async () => {
    await take();
    kept.setItem("token", token);
    kept.setItem("judge", judge);
    $("token").value = "";
  });
});
$("grades").append(...GRADES.map((n) => {
  const button = el("button", { type: "button", value: n, onclick: () => rate(n) }, String(n));
  button.setAttribute("aria-label", `${n} of 5`);
  return button;
}));
$("next").addEventListener("click", () => attempt(take));
$("again").addEventListener("click", () => attempt(take));

document.addEventListener("keydown", (event) => {
  if ($("reading").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "u") back(asked - 1);
  else if (!$("grades").hidden && GRADES.includes(Number(event.key))) rate(Number(event.key));
});

attempt(async () => {
  if (token) await take(); else signOut();
});
