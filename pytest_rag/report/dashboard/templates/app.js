"use strict";
(() => {
  const OUTCOMES = ["passed", "failed", "error", "not_run"];
  const WORDS = { passed: "passed", failed: "failed", error: "broke", not_run: "not run" };
  const PAGE = matchMedia("(max-width: 640px)").matches ? 10 : 25;
  const PAPER = 500; // rows of a table that is printed
  const byId = (id) => document.getElementById(id);

  // Everything that a record says becomes text, never markup.
  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "onclick") node.addEventListener("click", value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") node.append(child);
    return node;
  }
  function svg(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  const score = (value) => (unknown(value) ? "—" : value.toFixed(3));
  function ms(value) {
    if (value === null || value === undefined) return "—";
    const figure = (v, digits) => v.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    if (value >= 10000) return figure(value / 1000, 1) + " s";
    return (value >= 10 ? figure(value, 0) : value.toPrecision(2)) + " ms";
  }
  function usd(value) {
    if (value === null || value === undefined) return "unknown";
    if (value === 0) return "$0.00";
    return "$" + value.toFixed(Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value)))));
  }
  const unknown = (value) => value === null || value === undefined;
  const way = (before, now) => (unknown(before) || unknown(now) || now === before ? null : now < before ? "down" : "up");
  const moved = (before, now) => el("span", { class: way(before, now) }, score(now));
  const arrow = (before, now) => (way(before, now) ? el("span", { class: way(before, now) }, score(before) + " → " + score(now)) : score(now));
  const verdict = (n) => el("span", { class: "tag " + WORDS[OUTCOMES[n]].replace(" ", "") }, WORDS[OUTCOMES[n]]);

  async function unpack(id) {
    const packed = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // --- the table -------------------------------------------------------------------------------

  class Cases {
    constructor(article) {
      this.key = article.dataset.evalset;
      this.article = article;
      this.form = article.querySelector("[data-filters]");
      this.page = 0;
      this.rows = PAGE;
      this.sort = ["place", 1];
      this.chunks = new Map();
    }
    async load() {
      const data = (this.data = await unpack(this.key + "-table"));
      this.size = data.id.length;
      this.words = data.id.map((id, n) => [id, data.query[n], ...data.tags[n].map((t) => data.allTags[t])].join("\n").toLowerCase());
      this.change = data.change.map((n) => data.changes[n]);
      this.columns = this.columnsOf();
      this.fill();
      this.form.addEventListener("input", () => this.show(0));
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("reset", () => setTimeout(() => this.show(0)));
      for (const button of this.article.querySelectorAll("[data-page]"))
        button.addEventListener("click", () => this.show(this.page + Number(button.dataset.page)));
      this.show(0);
    }
    columnsOf() {
      const data = this.data;
      const metrics = data.metrics.slice(0, 3).map((name, m) => ({
        name, number: true, of: (n) => data.scores[m][n],
        cell: (n) => arrow(data.old[m][n], data.scores[m][n]),
      }));
      return [
        { name: "Case", of: (n) => data.id[n], row: true, cell: (n) => el("button", { type: "button", onclick: () => opened.show(this, n) }, data.id[n]) },
        { name: "Question", of: (n) => data.query[n], wide: true, cell: (n) => data.query[n] },
        { name: "Verdict", of: (n) => data.outcome[n], cell: (n) => verdict(data.outcome[n]) },
        ...metrics,
        { name: "Latency", number: true, of: (n) => data.ms[n], cell: (n) => ms(data.ms[n]) },
        { name: "Cost", number: true, of: (n) => data.usd[n], cell: (n) => usd(data.usd[n]) },
        { name: "Gold lost at", of: (n) => data.stage[n], cell: (n) => data.stage[n] || "—" },
      ];
    }
    fill() {
      const choices = (name, all, values) => {
        const select = this.form.elements[name];
        select.replaceChildren(el("option", { value: "" }, all), ...values.map((v) => el("option", { value: v }, v)));
        select.disabled = values.length === 0;
      };
      const used = new Set(this.data.outcome);
      choices("verdict", "any", OUTCOMES.filter((_, n) => used.has(n)).map((o) => WORDS[o]));
      const order = ["passed before", "worse", "better", "mended", "same", "new"];
      const changes = new Set(this.change);
      choices("change", "any", changes.size === 1 && changes.has("new") ? [] : order.filter((c) => changes.has(c)));
      choices("tag", "any", this.data.allTags);
      choices("stage", "any", [...new Set(this.data.stage)].filter(Boolean).sort());
    }
    matching() {
      const { text, verdict: v, change, tag, stage } = Object.fromEntries(new FormData(this.form));
      const words = (text || "").toLowerCase().split(/\s+/).filter(Boolean);
      const outcome = v ? OUTCOMES.findIndex((o) => WORDS[o] === v) : -1;
      const label = tag ? this.data.allTags.indexOf(tag) : -1;
      const found = [];
      for (let n = 0; n < this.size; n++) {
        if (outcome >= 0 && this.data.outcome[n] !== outcome) continue;
        if (change && this.change[n] !== change) continue;
        if (label >= 0 && !this.data.tags[n].includes(label)) continue;
        if (stage && this.data.stage[n] !== stage) continue;
        if (words.every((word) => this.words[n].includes(word))) found.push(n);
      }
      return this.sorted(found);
    }
    // Unasked, what a reviewer must see comes first: what broke or fell, then what did not pass.
    sorted(found) {
      const [name, way] = this.sort;
      const column = this.columns.find((each) => each.name === name);
      if (!column) {
        const rank = (n) => this.data.change[n] * 10 - [0, 3, 2, 1][this.data.outcome[n]];
        return found.sort((a, b) => rank(a) - rank(b) || a - b);
      }
      const missing = (v) => unknown(v) || v === "";
      return found.sort((a, b) => {
        const [x, y] = [column.of(a), column.of(b)];
        if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
        return way * (x < y ? -1 : x > y ? 1 : 0) || a - b;
      });
    }
    show(page) {
      const started = performance.now();
      this.found = this.matching();
      const pages = Math.max(1, Math.ceil(this.found.length / this.rows));
      this.page = Math.min(Math.max(page, 0), pages - 1);
      const rows = this.found.slice(this.page * this.rows, (this.page + 1) * this.rows).map((n) => this.row(n));
      this.head();
      this.article.querySelector("[data-body]").replaceChildren(...rows);
      const some = this.found.length === this.size ? "" : this.found.length.toLocaleString("en") + " of ";
      this.article.querySelector("[data-count]").textContent = some + this.size.toLocaleString("en") + (this.size === 1 ? " case" : " cases");
      this.article.querySelector("[data-where]").textContent = "page " + (this.page + 1) + " of " + pages;
      const [back, next] = this.article.querySelectorAll("[data-page]");
      back.disabled = this.page === 0;
      next.disabled = this.page === pages - 1;
      this.article.dataset.took = String(performance.now() - started);
    }
    head() {
      const [name, way] = this.sort;
      const focused = document.activeElement && document.activeElement.dataset.sort;
      const cells = this.columns.map((column) => {
        const on = column.name === name;
        const button = el("button", { type: "button", "data-sort": column.name, onclick: () => this.by(column.name) }, column.name + (on ? (way > 0 ? " ▲" : " ▼") : ""));
        return el("th", { scope: "col", role: "columnheader", class: column.number ? "n" : null, "aria-sort": on ? (way > 0 ? "ascending" : "descending") : null }, button);
      });
      const row = this.article.querySelector("[data-head]");
      const inside = row.contains(document.activeElement);
      row.replaceChildren(...cells);
      if (inside) for (const cell of cells) if (cell.firstChild.dataset.sort === focused) cell.firstChild.focus();
    }
    by(name) {
      this.sort = [name, this.sort[0] === name ? -this.sort[1] : 1];
      this.show(0);
    }
    row(n) {
      const cell = (c) => el(c.row ? "th" : "td", { scope: c.row ? "row" : null, role: c.row ? "rowheader" : "cell", class: c.number ? "n" : c.wide ? "q" : null, "data-label": c.name }, c.cell(n));
      return el("tr", { role: "row" }, this.columns.map(cell));
    }
    // On paper nobody turns pages.
    print(on) {
      this.rows = on ? PAPER : PAGE;
      this.show(0);
    }
    async detail(n) {
      const chunk = Math.floor(n / this.data.chunk);
      if (!this.chunks.has(chunk)) this.chunks.set(chunk, unpack(this.key + "-" + chunk));
      return (await this.chunks.get(chunk))[n % this.data.chunk];
    }
  }

  // --- the page of a case ------------------------------------------------------------------------

  function table(head, rows, marks) {
    const line = (cells, n) => el("tr", { class: marks && marks[n] ? "isgold" : null }, cells.map((cell, place) => el(place ? "td" : "th", { scope: place ? null : "row" }, cell instanceof Node ? cell : String(cell ?? "—"))));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": head.join(", ") },
      el("table", null, el("thead", null, el("tr", null, head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", null, rows.map(line))));
  }
  const part = (title, ...inside) => el("section", null, el("h3", null, title), ...inside);
  const said = (text) => el("div", { class: "said", dir: "auto", tabindex: "0", role: "group", "aria-label": "text" }, text === "" ? "(empty)" : text);

  // A row a component that ran, where it ran; of a record that does not tell when, a row a stage.
  function waterfall(found) {
    const { stages, own, spans } = found;
    const known = spans.length > 0;
    const rows = known ? spans.map(([depth, stage, part, start, took]) => ({ depth, stage, name: part, start, took })) : endToEnd(stages, found.ms);
    const whole = Math.max(found.ms || 0, ...rows.map((row) => row.start + row.took), 0.001);
    const ordered = [...new Set(rows.map((row) => row.stage))];
    const note = known ? "Where bars overlap, components ran at the same time or one inside the other." : "This record does not tell when a stage began: they are laid end to end.";
    const figures = Object.keys(stages).map((name) => [name, ms(stages[name]), ms(own[name] || 0)]);
    const parts = rows.map((row) => ["\u00a0".repeat(2 * row.depth) + row.name, row.stage, ms(row.start), ms(row.took)]);
    return [
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Waterfall" }, picture(rows, whole, ordered)),
      el("p", { class: "legend" }, ordered.map((stage, n) => el("span", null, el("i", { class: "s" + (n % 7) }), stage))),
      el("p", { class: "note" }, note),
      table(["stage", "with all inside", "itself"], figures),
      known ? el("details", null, el("summary", null, "Every component"), table(["component", "stage", "began at", "took"], parts)) : "",
    ];
  }
  function endToEnd(stages, whole) {
    let at = 0;
    return Object.keys(stages).map((stage) => {
      const inside = (stage === "embed" && "retrieve" in stages) || (stage === "llm" && "synthesize" in stages);
      const start = stage === "embed" && inside ? 0 : inside ? Math.max(0, at - stages[stage]) : Math.min(at, Math.max(0, (whole || 0) - stages[stage]));
      if (!inside) at = start + stages[stage];
      return { depth: 0, stage, name: stage, start, took: stages[stage] };
    });
  }
  function picture(rows, whole, ordered) {
    const [left, wide, line] = [190, 440, 24];
    const height = (rows.length + 1) * line + 30;
    const drawn = svg("svg", { class: "fall", viewBox: "0 0 720 " + height, role: "img", "aria-label": "Waterfall of " + rows.length + " bars over " + ms(whole) + "; the tables below hold its figures" });
    for (let n = 0; n <= 4; n++) {
      const x = left + (wide * n) / 4;
      drawn.append(svg("line", { x1: x, x2: x, y1: 22, y2: height - 4 }));
      drawn.append(svg("text", { class: "dim", x, y: 15, "text-anchor": n ? (n === 4 ? "end" : "middle") : "start" }, n ? ms((whole * n) / 4) : "0"));
    }
    const bar = (n, name, kind, start, took, depth) => {
      const y = 26 + n * line;
      const [x, length] = [left + (start / whole) * wide, Math.max(2, (took / whole) * wide)];
      const most = 24 - 2 * depth;
      drawn.append(svg("text", { x: 10 + depth * 12, y: y + 14 }, name.length > most ? name.slice(0, most - 1) + "…" : name));
      const box = svg("rect", { class: kind, x, y: y + 3, width: length, height: line - 9, rx: 2 });
      box.append(svg("title", {}, name + ": " + ms(start) + " to " + ms(start + took)));
      drawn.append(box, svg("text", { class: "dim", x: 640, y: y + 14 }, ms(took)));
    };
    bar(0, "the whole run", "all", 0, whole, 0);
    rows.forEach((row, n) => bar(n + 1, row.name, "s" + (ordered.indexOf(row.stage) % 7), row.start, row.took, row.depth));
    return drawn;
  }

  function* parts(cases, n, found) {
    const data = cases.data;
    const compared = data.was[n] !== null;
    const facts = [data.stage[n] ? "gold lost at " + data.stage[n] : "", ms(found.ms), usd(found.usd), found.repeats > 1 ? found.repeats + " repeats; one that decided is shown" : ""];
    yield el("p", { class: "facts" }, verdict(data.outcome[n]), compared ? el("span", null, "before: ", verdict(data.was[n])) : "", facts.filter(Boolean).map((fact) => el("span", null, fact)), data.tags[n].map((tag) => el("span", { class: "tag plain" }, data.allTags[tag])));
    if (found.why.length) yield part("Why", el("ul", null, found.why.map((reason) => el("li", null, reason))));
    yield part("Question", said(found.query));
    found.reference.forEach((text, place) => (found.reference[place] = said(text)));
    if (found.reference.length) yield part("Reference", ...found.reference);
    if (found.answer !== null) yield part("Answer", said(found.answer));
    if (found.oldAnswer !== null && found.oldAnswer !== found.answer) yield part("Answer before", said(found.oldAnswer));
    if (found.notes.length) yield part("Notes", el("ul", null, found.notes.map((note) => el("li", null, note))));
    if (found.error) yield part("Traceback", said(found.error));
    if (found.gold.length)
      yield part("Gold documents", table(["document", "grade", "rank before", "rank now", "what became of it"],
        found.gold.map(([name, grade, before, now, lost]) => [name, grade, before === "" ? "—" : before ?? "not retrieved", now ?? "not retrieved", lost ?? ""])));
    if (found.retrieved !== null) {
      const gold = (grade) => (grade ? el("span", { class: "tag gold" }, "gold " + grade) : "");
      yield part("Retrieved", found.retrieved.length
        ? table(["rank", "document", "score", "gold", "rank before"], found.retrieved.map(([name, value, grade, before], place) => [place + 1, name, value ?? "—", gold(grade), before ?? "—"]), found.retrieved.map((node) => node[2] > 0))
        : el("p", null, "Nothing was retrieved."));
      if (found.dropped.length)
        yield part("Retrieved before, not now", table(["document", "rank before", "gold"], found.dropped.map(([name, rank, grade]) => [name, rank, gold(grade)]), found.dropped.map((node) => node[2] > 0)));
    }
    const scores = Object.entries(found.scores);
    if (scores.length) yield part("Scores", table(["metric", "before", "now", ""], scores.map(([name, [now, old, why]]) => [name, score(old), moved(old, now), why ?? ""])));
    if (Object.keys(found.stages).length) yield part("Time: " + ms(found.ms) + (found.oldMs ? ", before " + ms(found.oldMs) : ""), ...waterfall(found));
    if (found.calls.length) yield part("Calls: " + usd(found.usd), table(["stage", "model", "origin", "tokens in", "out", "cost", "latency"], found.calls.map(([stage, model, origin, read, written, cost, took]) => [stage, model, origin, read ?? "—", written ?? "—", usd(cost), ms(took)])));
    const past = found.past.map((then, place) => [data.runs[place], then]).filter(([, then]) => then.length);
    if (past.length > 1) yield part("Over the runs", table(["run", "verdict", data.metrics[0] || "score"], past.map(([place, then]) => [place, verdict(then[0]), score(then[1])])));
  }

  const opened = {
    dialog: byId("case"),
    async show(cases, n) {
      Object.assign(this, { cases, n });
      const focused = document.activeElement;
      byId("case-name").textContent = cases.data.id[n];
      byId("case-body").replaceChildren(...parts(cases, n, structuredClone(await cases.detail(n))));
      if (!this.dialog.open) this.dialog.showModal();
      this.dialog.scrollTop = 0;
      const place = cases.found.indexOf(n);
      byId("case-place").textContent = place < 0 ? "" : (place + 1).toLocaleString("en") + " of " + cases.found.length.toLocaleString("en");
      const [back, next] = this.dialog.querySelectorAll("[data-step]");
      back.disabled = place <= 0;
      next.disabled = place < 0 || place === cases.found.length - 1;
      if (this.dialog.contains(focused) && focused.disabled) this.dialog.querySelector("[data-close]").focus();
      history.replaceState(null, "", "#" + encodeURIComponent(cases.key) + "/" + encodeURIComponent(cases.data.id[n]));
    },
    step(way) {
      const next = this.cases.found[this.cases.found.indexOf(this.n) + way];
      if (next !== undefined) this.show(this.cases, next);
    },
  };
  for (const button of opened.dialog.querySelectorAll("[data-step]")) button.addEventListener("click", () => opened.step(Number(button.dataset.step)));
  opened.dialog.querySelector("[data-close]").addEventListener("click", () => opened.dialog.close());
  opened.dialog.addEventListener("close", () => history.replaceState(null, "", "#"));
  opened.dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("[role=region], select, input")) return;
    if (event.key === "ArrowLeft") opened.step(-1);
    if (event.key === "ArrowRight") opened.step(1);
  });

  // --- the whole page ----------------------------------------------------------------------------

  const articles = [...document.querySelectorAll("[data-evalset]")];
  const tables = new Map(articles.map((article) => [article.dataset.evalset, new Cases(article)]));
  function choose(key) {
    for (const article of articles) article.hidden = article.dataset.evalset !== key;
  }
  const chooser = byId("evalset");
  if (chooser) {
    chooser.addEventListener("change", () => choose(chooser.value));
    choose(chooser.value);
  }
  const root = document.documentElement;
  const theme = byId("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => (theme.textContent = dark() ? "Light" : "Dark");
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();
  byId("print").addEventListener("click", () => print());
  addEventListener("beforeprint", () => { for (const cases of tables.values()) cases.print(true); });
  addEventListener("afterprint", () => { for (const cases of tables.values()) cases.print(false); });

  function address() {
    try {
      return location.hash.slice(1).split("/").map(decodeURIComponent);
    } catch {
      return []; // no address of ours
    }
  }
  async function start() {
    for (const cases of tables.values()) await cases.load();
    const [key, id] = address();
    const cases = tables.get(key);
    if (cases) {
      if (chooser) { chooser.value = key; choose(key); }
      const n = cases.data.id.indexOf(id);
      if (n >= 0) opened.show(cases, n);
    }
    root.dataset.ready = "yes";
  }
  start().catch((error) => {
    for (const line of document.querySelectorAll("[data-count]")) line.textContent = "The cases cannot be shown: " + error.message;
    throw error;
  });
})();
