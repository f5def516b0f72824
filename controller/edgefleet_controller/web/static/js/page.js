// What every page does beside showing what the server wrote: theme, copying, asking before what cannot be undone.

const root = document.documentElement;

function isDark() {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function showTheme(button) {
  const dark = isDark();
  button.setAttribute("aria-pressed", String(dark));
  button.querySelector("[data-theme-label]").textContent = dark ? "Light colours" : "Dark colours";
}

function switchTheme(button) {
  const next = isDark() ? "light" : "dark";
  root.dataset.theme = next;
  try {
    localStorage.setItem("edgefleet-theme", next);
  } catch {
    // it holds for this page only
  }
  showTheme(button);
  document.dispatchEvent(new CustomEvent("edgefleet:theme"));
}

export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source.textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
    button.querySelector("[data-label]").textContent = "Copied";
  } catch {
    // not allowed outside of secure contexts: select it, the reader presses the keys
    getSelection().selectAllChildren(source);
    announce("Selected: copy it with the keyboard");
    button.querySelector("[data-label]").textContent = "Selected";
  }
}

document.addEventListener("click", (event) => {
  const theme = event.target.closest("[data-switch-theme]");
  if (theme) switchTheme(theme);
  const copying = event.target.closest("[data-copy]");
  if (copying) copy(copying);
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
// what the server announces (a state that changed) is read out, at most one line at a time
document.addEventListener("htmx:sseMessage", (event) => {
  if (event.detail.type === "announce") announce(event.detail.data);
});
function liveState(text) {
  for (const place of document.querySelectorAll("[data-live-state]")) place.textContent = text;
}
document.addEventListener("htmx:sseOpen", () => liveState("Live"));
document.addEventListener("htmx:sseError", () => liveState("Not live: trying again. Reload for the newest state."));
document.addEventListener("htmx:sseClose", () => liveState("Finished"));
// a filter is sent as soon as it is chosen; without scripts the button sends it
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-send-at-once]");
  if (form && event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
});
for (const button of document.querySelectorAll("[data-switch-theme]")) showTheme(button);

const SPANS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function ago(time) {
  const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
  const [unit, name] = SPANS.find(([span]) => Math.abs(seconds) >= span) ?? [1, "s"];
  const text = `${Math.round(Math.abs(seconds) / unit)} ${name}`;
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-ago]")) time.textContent = ago(time);
}, 10000);
