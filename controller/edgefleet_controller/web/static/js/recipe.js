// Fields of a recipe of one's own, made from the recipe's JSON schema: a new kind of pass needs nothing here.
const place = document.getElementById("recipe-builder");
const area = document.getElementById("own_recipe");
const form = document.getElementById("job-form");
let schema = null;
let ids = 0;

const resolve = (node) => (node?.$ref ? { ...schema.$defs[node.$ref.split("/").pop()], ...node } : node);

function element(kind, attributes = {}, ...content) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== null) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

// what a field may hold, with null put aside: fields with a null choice are left out when they are empty
function plainOf(node) {
  const found = resolve(node);
  const choices = (found.anyOf ?? []).map(resolve).filter((one) => one.type !== "null");
  return choices.length ? { ...choices[0], ...{ description: found.description, default: found.default } } : found;
}

function labelled(name, node, control) {
  control.id = `recipe-${(ids += 1)}`;
  const hint = node.description ? [element("span", { class: "hint" }, node.description.split(". ")[0])] : [];
  return element("div", {}, element("label", { for: control.id }, name.replaceAll("_", " ")), control, ...hint);
}

// returns [element, read]; read gives the value, or undefined where the field was left as it is
function field(name, raw) {
  const node = plainOf(raw);
  if (node.enum) {
    const control = element("select", {}, element("option", { value: "" }, node.default ? `as usual (${node.default})` : "as usual"), ...node.enum.map((one) => element("option", {}, one)));
    return [labelled(name, node, control), () => control.value || undefined];
  }
  if (node.type === "boolean") {
    const control = element("select", {}, ...[["", `as usual (${node.default ? "yes" : "no"})`], ["true", "yes"], ["false", "no"]].map(([value, text]) => element("option", { value }, text)));
    return [labelled(name, node, control), () => (control.value ? control.value === "true" : undefined)];
  }
  if (node.type === "number" || node.type === "integer") {
    const control = element("input", { type: "number", step: node.type === "integer" ? 1 : "any", min: node.minimum ?? node.exclusiveMinimum, max: node.maximum ?? node.exclusiveMaximum, placeholder: node.default ?? "" });
    return [labelled(name, node, control), () => (control.value === "" ? undefined : Number(control.value))];
  }
  if (node.type === "string") {
    const control = element("input", { placeholder: node.default ?? "" });
    return [labelled(name, node, control), () => control.value || undefined];
  }
  if (node.type === "object" && node.properties) {
    const [made, read] = fields(node);
    const group = element("details", {}, element("summary", {}, name.replaceAll("_", " ")), made);
    return [group, () => (Object.keys(read()).length ? read() : undefined)];
  }
  const control = element("input", { placeholder: node.default ? JSON.stringify(node.default) : "as JSON" });
  return [
    labelled(name, node, control),
    () => {
      if (!control.value) return undefined;
      try {
        return JSON.parse(control.value);
      } catch {
        control.setCustomValidity("not JSON");
        control.reportValidity();
        return undefined;
      }
    },
  ];
}

function fields(node) {
  const made = Object.entries(node.properties)
    .filter(([, one]) => resolve(one).const === undefined)
    .map(([name, one]) => [name, ...field(name, one)]);
  const box = element("div", { class: "fields" }, ...made.map(([, one]) => one));
  const read = () => Object.fromEntries(made.map(([name, , value]) => [name, value()]).filter(([, value]) => value !== undefined));
  return [box, read];
}

const passes = [];
let list = null;
let nameOf = null;

function write() {
  const name = nameOf.value || "mine";
  area.value = passes.length ? JSON.stringify({ name, passes: passes.map(({ kind, read }) => ({ kind, ...read() })) }, null, 2) : "";
  form.dispatchEvent(new Event("recipe-changed"));
}

function add(kind) {
  const node = schema.$defs[schema.properties.passes.items.discriminator.mapping[kind].split("/").pop()];
  const [box, read] = fields(node);
  const remove = element("button", { type: "button", class: "plain tiny" }, "Remove");
  const card = element("fieldset", {}, element("legend", {}, kind.replaceAll("_", " ")), element("p", { class: "hint" }, node.description ?? ""), box, remove);
  const entry = { kind, read };
  passes.push(entry);
  list.append(card);
  remove.addEventListener("click", () => {
    passes.splice(passes.indexOf(entry), 1);
    card.remove();
    write();
  });
  card.addEventListener("change", (event) => {
    event.stopPropagation();
    write();
  });
  write();
}

async function begin() {
  const answer = await fetch(place.dataset.schema, { credentials: "same-origin" });
  if (!answer.ok) return; // the recipe can still be written as JSON
  schema = await answer.json();
  const kinds = Object.keys(schema.properties.passes.items.discriminator.mapping);
  const choice = element("select", { id: "recipe-kind" }, ...kinds.map((kind) => element("option", { value: kind }, kind.replaceAll("_", " "))));
  const button = element("button", { type: "button", class: "plain" }, "Add this pass");
  nameOf = element("input", { id: "recipe-name", value: "mine", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*" });
  list = element("div");
  place.append(
    element("div", { class: "filters" }, element("div", {}, element("label", { for: "recipe-name" }, "Name"), nameOf), element("div", {}, element("label", { for: "recipe-kind" }, "Pass"), choice), button),
    list,
  );
  button.addEventListener("click", () => add(choice.value));
  nameOf.addEventListener("change", write);
}

if (place) begin();
