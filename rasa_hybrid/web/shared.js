// What the scripts of all pages do alike: make elements, ask the server, tell what goes wrong.

export const $ = (id) => document.getElementById(id);

/** Lives as long as the tab. */
export const kept = window.sessionStorage;

/** An element with properties and children, null for none; texts are never read as HTML. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * What the server answers, as JSON. An error has the `status` of the answer, or none if there was no answer: its message is
 * then `silence`.
 */
export async function ask(method, address, token, body, silence) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address, { method, headers, body: body ? JSON.stringify(body) : undefined });
  } catch {
    throw new Error(silence);
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(content.message || `The server answers ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return content;
}

export function tell(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
  if (text) setTimeout(() => { if ($("message").textContent === text) tell(""); }, 6000);
}

/** Whether something is being done. */
export let busy = false;

/**
 * Makes a page's `attempt(work)`, which does one thing at a time. What goes wrong is told, after `refused(status)` has shown
 * where the page is now.
 */
export const attempting = (refused) => async (work) => {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    await refused(error.status);
    tell(error.message);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
};
