// Runs before anything is painted: the chosen theme must not flash. Without a choice the system decides.
document.documentElement.classList.add("js");
try {
  const chosen = localStorage.getItem("edgefleet-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage is forbidden: the system decides
}
