// Asks the modes side by side over the same API that any client uses. No build step, nothing from elsewhere.

const at = (id) => document.getElementById(id);
let running = null; // AbortController of the question under way
let asked = "";

const make = (name, text = "", attributes = {}) => {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

async function call(path, options = {}) {
  const headers = { ...(options.body ? { "Content-Type": "application/json" } : {}) };
  if (at("key").value) headers.Authorization = `Bearer ${at("key").value}`;
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Error(said?.error?.message ?? `the server answered ${response.status}`);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function loadModels() {
  const { data } = await (await call("v1/models")).json();
  const chosen = at("modes").querySelectorAll("input").length === 0;
  if (!chosen) return;
  for (const { id } of data) {
    const label = make("label");
    const box = make("input", "", { type: "checkbox", value: id });
    box.checked = true;
    label.append(box, ` ${id.split(":").pop()}`);
    at("modes").append(label);
  }
}

function card(model) {
  const article = make("article", "", { "aria-busy": "true", "data-mode": model.split(":").pop() });
  const text = make("p", "", { class: "text" });
  const facts = make("dl", "", { class: "facts" });
  article.append(make("h3", model.split(":").pop()), text, facts);
  at("answers").append(article);
  return { article, text, facts };
}

function fact(facts, name, value) {
  facts.append(make("dt", name), make("dd", value));
}

// One row a source, one column a token: what the token's log-probability loses when the source is left out.
function explained(found) {
  const strongest = Math.max(1e-9, ...found.effects.flatMap((effect) => effect.tokens.map(Math.abs)));
  const table = make("table");
  const head = make("tr");
  head.append(make("th", "left out"), make("th", "answer"), ...found.tokens.map((token) => make("th", token.trim() || "·")));
  table.append(head);
  const ranks = { adapter: 0, text: 0 };
  for (const effect of found.effects) {
    const row = make("tr");
    const one = effect.passage_id ? `${effect.kind} ${++ranks[effect.kind]}: ${effect.title || effect.passage_id}` : `all ${effect.kind}s`;
    row.append(make("th", one, { scope: "row" }), make("td", signed(effect.total), { class: "total" }));
    for (const value of effect.tokens) {
      const cell = make("td", signed(value));
      const bar = make("span", "", { class: value < 0 ? "bar less" : "bar more" });
      bar.style.width = `${(100 * Math.abs(value)) / strongest}%`;
      cell.append(bar);
      row.append(cell);
    }
    table.append(row);
  }
  return table;
}

const signed = (value) => (value < 0 ? "" : "+") + value.toFixed(1);

async function explain(model, lora, button, place) {
  button.disabled = true;
  place.replaceChildren(make("p", "Leaving out each adapter and each passage in turn…", { class: "source" }));
  try {
    const body = { model, question: asked, max_tokens: Math.min(64, Number(at("tokens").value)) };
    if (lora) body.lora = lora;
    const found = await (await call("v1/explain", { method: "POST", body: JSON.stringify(body) })).json();
    const said = found.effects.length && found.tokens.length
      ? "By how many nats each source raised the answer, and each of its tokens (+2.3: ten times as likely with it)."
      : "No adapter and no passage took part in this answer.";
    place.replaceChildren(make("p", said, { class: "source" }));
    if (found.effects.length && found.tokens.length) {
      const wide = make("div", "", { class: "wide", tabindex: "0", role: "region", "aria-label": "Why this answer" });
      wide.append(explained(found));
      place.append(wide);
    }
  } catch (error) {
    place.replaceChildren(make("p", error.message, { class: "error" }));
  }
  button.disabled = false;
}

async function askModel(model, lora, signal) {
  const { article, text, facts } = card(model);
  const started = performance.now();
  let first = 0;
  try {
    const mode = model.split(":").pop();
    const body = {
      model,
      messages: [{ role: "user", content: asked }],
      max_tokens: Number(at("tokens").value),
      temperature: Number(at("temperature").value),
      stream: true,
      stream_options: { include_usage: true },
      references: true,
    };
    if (lora && /^pt?-rag/.test(mode)) body.lora = lora;
    const response = await call("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const piece = chunk.choices?.[0]?.delta?.content;
      if (piece) {
        first ||= performance.now() - started;
        text.textContent += piece;
      }
      if (chunk.references?.length && !lora) showPassages(chunk.references, mode);
      if (chunk.usage) {
        const cached = chunk.usage.prompt_tokens_details.cached_tokens;
        fact(facts, "prompt tokens", `${chunk.usage.prompt_tokens}${cached ? ` (${cached} known)` : ""}`);
        fact(facts, "answer tokens", chunk.usage.completion_tokens);
      }
    }
    if (!text.textContent) text.textContent = "(the model said nothing)";
    fact(facts, "first words", first ? `${Math.round(first)} ms` : "-");
    fact(facts, "all", `${Math.round(performance.now() - started)} ms`);
    const why = make("button", "Why?", { type: "button", class: "why", "aria-label": `Why this answer of ${mode}?` });
    const place = make("div", "", { class: "explanation", "aria-live": "polite" });
    why.addEventListener("click", () => explain(model, body.lora, why, place));
    if (!mode.endsWith("-late")) article.append(why, place); // there it is several answers, not one
  } catch (error) {
    text.classList.add("error");
    text.textContent = error.name === "AbortError" ? "stopped" : error.message;
  } finally {
    article.setAttribute("aria-busy", "false");
  }
}

// The passages are those of the mode that says most of them: the one with adapters.
function showPassages(references, mode) {
  if (at("passages").childElementCount && !mode.startsWith("p")) return;
  at("passages").replaceChildren();
  for (const [rank, entry] of references.entries()) {
    const item = make("li");
    const title = make("strong", entry.title || entry.document_id);
    const source = make("span", ` score ${entry.score.toFixed(2)}, from ${entry.document_id}`, { class: "source" });
    item.append(title, source, make("p", entry.text));
    if (entry.adapter_id) {
      const row = make("div", "", { class: "weight" });
      const id = `weight-${rank}`;
      const slider = make("input", "", { id, type: "range", min: 0, max: 2, step: 0.05, "data-adapter": entry.adapter_id });
      slider.value = entry.weight;
      const shown = make("output", entry.weight.toFixed(2), { for: id });
      slider.addEventListener("input", () => { shown.textContent = Number(slider.value).toFixed(2); });
      row.append(make("label", "Weight of its adapter", { for: id }), slider, shown);
      item.append(row);
      at("again").hidden = false;
    } else if (mode.startsWith("p")) {
      item.append(make("p", "It has no adapter yet.", { class: "source" }));
    }
    at("passages").append(item);
  }
}

async function ask(lora) {
  const models = [...at("modes").querySelectorAll("input:checked")].map((box) => box.value);
  running?.abort();
  const mine = new AbortController();
  running = mine;
  at("answers").replaceChildren();
  if (!lora) {
    at("passages").replaceChildren();
    at("again").hidden = true;
  }
  at("stop").disabled = false;
  at("status").textContent = `Asking ${models.length} modes…`;
  await Promise.all(models.map((model) => askModel(model, lora, mine.signal)));
  if (running !== mine) return;
  at("stop").disabled = true;
  at("status").textContent = mine.signal.aborted ? "Stopped." : "All modes have answered.";
}

async function loadDocuments() {
  const { data } = await (await call("v1/documents")).json();
  at("documents").replaceChildren();
  for (const entry of data.slice(0, 200)) {
    const item = make("li");
    const name = make("span", entry.title || entry.id);
    name.append(make("span", ` ${entry.encoded} of ${entry.passages} passages encoded`, { class: "source" }));
    const forget = make("button", "Forget", { type: "button", "aria-label": `Forget ${entry.title || entry.id}` });
    forget.addEventListener("click", () => remove(entry));
    item.append(name, forget);
    at("documents").append(item);
  }
  if (data.length > 200) at("documents").append(make("li", `and ${data.length - 200} more`));
}

async function remove(entry) {
  try {
    await call(`v1/documents/${entry.id.split("/").map(encodeURIComponent).join("/")}`, { method: "DELETE" });
    at("job").textContent = `${entry.title || entry.id} is forgotten.`;
    await loadDocuments();
  } catch (error) {
    at("job").textContent = error.message;
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("the file cannot be read"));
    reader.readAsDataURL(file);
  });
}

async function upload(file) {
  const bar = at("bar");
  try {
    at("job").textContent = `Reading ${file.name}…`;
    const body = JSON.stringify({ documents: [{ id: file.name, file_base64: await base64(file) }] });
    let { job } = await (await call("v1/documents", { method: "POST", body })).json();
    bar.hidden = false;
    await loadDocuments();
    while (job.status === "queued" || job.status === "running") {
      bar.value = job.passages ? job.done / job.passages : 0;
      at("job").textContent = `${file.name} can be found; ${job.done} of ${job.passages} passages are encoded.`;
      await new Promise((resolve) => setTimeout(resolve, 500));
      job = await (await call(`v1/jobs/${job.id}`)).json();
    }
    at("job").textContent = job.error ?? `${file.name} is encoded: ${job.done - job.failed} of ${job.passages} passages.`;
  } catch (error) {
    at("job").textContent = error.message;
  }
  bar.hidden = true;
  await loadDocuments();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  asked = at("question").value.trim();
  if (asked) ask(null);
});
at("stop").addEventListener("click", () => running?.abort());
at("again").addEventListener("click", () => {
  const sliders = [...at("passages").querySelectorAll("input[type=range]")];
  ask(sliders.map((slider) => ({ id: slider.dataset.adapter, scale: Number(slider.value) })));
});
at("upload").addEventListener("submit", (event) => {
  event.preventDefault();
  if (at("file").files[0]) upload(at("file").files[0]);
});
const start = () => Promise.all([loadModels(), loadDocuments()]).then(
  () => { at("status").textContent = ""; },
  (error) => { at("status").textContent = error.message; },
);
at("key").addEventListener("change", start);
start();
