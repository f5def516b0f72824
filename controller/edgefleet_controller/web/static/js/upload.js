// Uploads a model through the API: the file under its hash, then its name. Other programs do the same.
const form = document.getElementById("upload-model");
const state = document.getElementById("upload-state");

async function said(answer) {
  try {
    const problem = await answer.json();
    return problem.detail ?? answer.statusText;
  } catch {
    return `status ${answer.status}`;
  }
}

async function put(file, what) {
  if (!crypto.subtle) throw new Error("This page was not loaded over TLS or from this host, so the browser cannot compute hashes. Use the command line.");
  state.textContent = `Reading the ${what}`;
  const bytes = await file.arrayBuffer();
  const digest = [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((one) => one.toString(16).padStart(2, "0")).join("");
  state.textContent = `Sending the ${what}`;
  const answer = await fetch(`/v1/blobs/${digest}`, { method: "PUT", body: bytes, credentials: "same-origin" });
  if (!answer.ok) throw new Error(await said(answer));
  return digest;
}

async function dataOf() {
  const chosen = document.getElementById("model-data").value;
  if (!chosen) return null;
  if (chosen !== "file") return { kind: "packaged", name: chosen };
  const [file] = document.getElementById("data-file").files;
  if (!file) throw new Error("Choose the data file, or another data set.");
  return { kind: "npz", sha256: await put(file, "data") };
}

async function send() {
  const [file] = document.getElementById("model-file").files;
  const body = { name: form.elements.name.value, blob_sha256: await put(file, "model"), data: await dataOf() };
  state.textContent = "Inspecting the model";
  const answer = await fetch("/v1/models", { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, credentials: "same-origin" });
  if (!answer.ok) throw new Error(await said(answer));
  location.assign(`/models/${(await answer.json()).id}`);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!form.reportValidity()) return;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await send();
  } catch (error) {
    state.textContent = `It was not taken: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
document.getElementById("model-data")?.addEventListener("change", (event) => {
  document.getElementById("data-file-row").hidden = event.target.value !== "file";
});
