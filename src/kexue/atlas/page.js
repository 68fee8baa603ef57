// Text of the corpus is hostile: it enters the document through textContent alone.
(() => {
  const { words, communities, samples, lang } = JSON.parse(byId("data").textContent);
  const ROWS = 20; // rows of the table at a time: 20,000 would take the browser seconds
  const PALETTE = 10; // communities with a style of their own, as in page.py
  const SHOWN = 64; // blocks beside each other; smaller communities wait in nested groups
  const COLUMNS = [
    { key: "word", name: "Word", show: (i) => words.word[i] },
    { key: "count", name: "Count", show: (i) => whole(words.count[i]) },
    { key: "cohesion", name: "Cohesion", unit: "bits", extra: true, show: (i) => bits(words.cohesion[i]) },
    { key: "freedom", name: "Freedom", unit: "bits", extra: true, show: (i) => bits(words.freedom[i]) },
    { key: "bits_saved", name: "Saved", unit: "bits", extra: true, show: (i) => whole(words.bits_saved[i]) },
    { key: "bits_net", name: "Net", unit: "bits", show: (i) => whole(words.bits_net[i]) },
    { key: "community", name: "Community" },
  ];
  const state = { query: "", community: null, sort: "bits_net", falling: true, page: 0, open: -1 };
  const narrow = matchMedia("(max-width: 47rem)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const folded = words.word.map(fold);
  const rest = communities.length - SHOWN;
  // 0: all fit beside each other; 1: the rest fits in one group; else the size of a group
  const crowd = rest <= 5 ? 0 : rest <= 2 * SHOWN ? 1 : Math.max(SHOWN, Math.ceil(rest / SHOWN));
  const shown = { rows: [], level: "all" };

  function fold(text) {
    return text.normalize("NFKC").toLowerCase();
  }

  function whole(x) {
    return x === null ? "–" : Math.round(x).toLocaleString("en-US").replace("-", "\u2212");
  }

  function bits(x) {
    return x === null ? "–" : x.toFixed(2).replace("-", "\u2212");
  }

  function share(x) {
    return `${(100 * x).toFixed(1)} %`;
  }

  function label(c) {
    return communities[c].label.slice(0, 4).join(" · ");
  }

  function title(c) {
    return c < 0 ? "Words too rare to place" : `Community ${c + 1}: ${label(c)}`;
  }

  function corpus(tag, text, attributes = {}) {
    return element(tag, { lang, dir: "auto", ...attributes }, text);
  }

  // ---- the table of words

  function select() {
    const query = fold(state.query.trim());
    const rows = [];
    for (let i = 0; i < folded.length; i++) {
      if (state.community !== null && words.community[i] !== state.community) continue;
      if (!query || folded[i].includes(query)) rows.push(i);
    }
    const column = words[state.sort];
    const sign = state.falling ? -1 : 1;
    // missing values last; ties by position, so that one order is the only order
    const compare = (a, b) => {
      const x = column[a];
      const y = column[b];
      if (x === y) return a - b;
      if (x === null || y === null) return x === null ? 1 : -1;
      return (x < y ? -1 : 1) * sign || a - b;
    };
    shown.rows = rows.sort(compare);
  }

  function refresh() {
    select();
    const last = Math.max(0, Math.ceil(shown.rows.length / ROWS) - 1);
    state.page = Math.min(state.page, last);
    draw();
  }

  function draw() {
    const start = state.page * ROWS;
    const rows = shown.rows.slice(start, start + ROWS);
    const body = [];
    for (const i of rows) {
      body.push(row(i));
      if (i === state.open) body.push(detail(i));
    }
    byId("rows").replaceChildren(...body);
    for (const head of byId("heads").children) {
      head.removeAttribute("aria-sort");
      if (head.dataset.key === state.sort) {
        head.setAttribute("aria-sort", state.falling ? "descending" : "ascending");
      }
    }
    const total = shown.rows.length;
    const of = total === words.word.length ? "" : ` of ${whole(words.word.length)} in all`;
    byId("status").textContent = total
      ? `Words ${whole(start + 1)} to ${whole(start + rows.length)} of ${whole(total)}` +
        (of ? ` found,${of}.` : ".")
      : "No word fits. Shorten the search or show all communities.";
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = start + ROWS >= total;
    byId("order").value = state.sort;
    byId("community").value = state.community === null ? "" : String(state.community);
  }

  function row(i) {
    const cells = COLUMNS.map((column) => {
      if (column.key === "word") {
        const button = corpus("button", words.word[i], {
          type: "button", class: "open", "aria-expanded": String(i === state.open),
          click: () => toggle(i),
        });
        return element("td", {}, button);
      }
      if (column.key === "community") return element("td", { class: "g" }, chip(words.community[i]));
      const loss = column.key.startsWith("bits") && words[column.key][i] < 0 ? " loss" : "";
      return element("td", { class: `n${column.extra ? " extra" : ""}${loss}` }, column.show(i));
    });
    return element("tr", { "data-word": i }, ...cells);
  }

  function chip(c) {
    if (c < 0) {
      return element("button", { type: "button", click: () => choose(c) },
        element("span", { class: "name" }, "rare"));
    }
    return element("button", { type: "button", title: title(c), click: () => choose(c) },
      element("span", { class: `number c${Math.min(c, PALETTE)}` }, String(c + 1)),
      corpus("span", label(c), { class: "name" }));
  }

  function detail(i) {
    const visible = COLUMNS.filter((column) => !(column.extra && narrow.matches));
    const cell = element("td", { colspan: visible.length });
    const figures = COLUMNS.filter((column) => column.extra)
      .map((column) => `${column.name.toLowerCase()} ${column.show(i)}`).join(", ");
    cell.append(element("p", {}, corpus("b", words.word[i]),
      ` occurs ${whole(words.count[i])} times; in bits: ${figures}, net ${whole(words.bits_net[i])}.`));
    if (words.neighbours[i].length) {
      cell.append(element("p", {}, "In like surroundings: ", ...words.neighbours[i].map((j) =>
        corpus("button", words.word[j], { type: "button", class: "link", click: () => show(j) }))));
    }
    const sample = samples.find((tokens) => tokens.some(([token]) => token === words.word[i]));
    if (sample) {
      const parts = sample.map(([token]) =>
        token === words.word[i] ? element("mark", {}, token) : token);
      const quote = corpus("span", "");
      quote.append(...parts);
      cell.append(element("p", {}, "For example: ", quote));
    }
    return element("tr", { class: "detail" }, cell);
  }

  function toggle(i) {
    state.open = state.open === i ? -1 : i;
    draw();
    focusRow(i);
  }

  function focusRow(i) {
    const button = byId("rows").querySelector(`[data-word="${i}"] .open`);
    if (button) button.focus({ preventScroll: true });
    return button;
  }

  /** Open word i wherever it stands in the present order, filters lifted if they hide it. */
  function show(i) {
    if (!shown.rows.includes(i)) {
      state.query = byId("query").value = "";
      if (state.community !== words.community[i]) choose(null);
      select();
    }
    state.page = Math.floor(shown.rows.indexOf(i) / ROWS);
    state.open = i;
    draw();
    const button = focusRow(i);
    if (button) button.scrollIntoView({ block: "center" });
  }

  // ---- one choice of a community, obeyed by every part of the page

  function choose(c, { zoom = true } = {}) {
    state.community = c;
    state.page = 0;
    state.open = -1;
    refresh();
    document.body.toggleAttribute("data-isolated", c !== null);
    for (const node of document.querySelectorAll("[data-community]")) {
      const same = Number(node.dataset.community) === c;
      if (node.classList.contains("w")) node.classList.toggle("chosen", same);
      else node.setAttribute("aria-pressed", String(same));
    }
    byId("choice").hidden = c === null;
    if (c !== null) {
      const size = whole(shown.rows.length);
      byId("chosen").replaceChildren(corpus("span", title(c)), ` (${size} words in the table)`);
    }
    if (zoom) zoomTo(c === null || c < 0 ? "all" : `c${c}`);
  }

  // ---- the icicle

  function safe(text) {
    // plotly reads a few tags in labels
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function mixed(a, b, weight) {
    const channel = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
    const mix = [0, 1, 2].map((k) => Math.round(weight * channel(a, k) + (1 - weight) * channel(b, k)));
    return `rgb(${mix.join(",")})`;
  }

  function tree() {
    const nodes = [];
    const add = (id, parent, text, value, tone, hover) =>
      nodes.push({ id, parent, text: `\u00a0${safe(text)}`, value, tone, hover: safe(hover) });
    const placed = communities.reduce((sum, c) => sum + c.share, 0);
    const many = `${whole(communities.length)} communities`;
    // the roots of sums add up in another order than the parts
    add("all", "", "All words", placed * (1 + 1e-6), "none", many);
    nodes[0].text += `<br>\u00a0${many}`;
    communities.forEach((community, c) => {
      const parent = home(c);
      const tone = `--c${Math.min(c, PALETTE)}`;
      const size = `${share(community.share)} of the text, ${whole(community.size)} words`;
      add(`c${c}`, parent, `${c + 1} ${label(c)}`, community.share, tone, `${title(c)}. ${size}`);
      // parts must not exceed the whole by a rounding error, or nothing is drawn
      const unit = (community.share * (1 - 1e-9)) / Math.max(community.uses, 1);
      let left = community.share;
      for (const i of community.members) {
        const value = words.count[i] * unit;
        left -= value;
        add(`w${i}`, `c${c}`, words.word[i], value, tone, `${words.word[i]}: ${whole(words.count[i])} times`);
      }
      const more = community.size - community.members.length;
      if (more > 0 && left > 0) {
        add(`m${c}`, `c${c}`, `${whole(more)} more`, left * (1 - 1e-6), "none", `${whole(more)} more words`);
      }
    });
    const group = (id, parent, name, from, to) => {
      const part = communities.slice(from, to).reduce((sum, c) => sum + c.share, 0);
      add(id, parent, name, part * (1 + 1e-8), "none", `${name}. ${share(part)} of the text`);
    };
    if (crowd) {
      group("rest", "all", `${whole(communities.length - SHOWN)} smaller ones`, SHOWN);
      nodes[nodes.length - 1].value *= 1 + 1e-7;
      for (let from = SHOWN; crowd > 1 && from < communities.length; from += crowd) {
        const to = Math.min(from + crowd, communities.length);
        group(`g${from}`, "rest", `${from + 1} to ${to}`, from, to);
      }
    }
    return nodes;
  }

  /** The block that holds community c: the whole, the smaller ones, or a run of these. */
  function home(c) {
    if (!crowd || c < SHOWN) return "all";
    return crowd === 1 ? "rest" : `g${c - ((c - SHOWN) % crowd)}`;
  }

  const nodes = tree();

  function figure() {
    const paper = colour("--paper");
    const depth = (node) => (node.tone === "--c10" ? 0.5 : 1) * (node.id[0] === "c" ? 0.55 : 0.3);
    const fill = (node) => node.tone === "none"
      ? mixed(colour("--line"), paper, 0.5) : mixed(colour(node.tone), paper, depth(node));
    const font = { family: getComputedStyle(document.body).fontFamily, color: colour("--ink"), size: 15 };
    const trace = {
      type: "icicle", branchvalues: "total", sort: false, level: shown.level,
      maxdepth: narrow.matches ? 2 : 3, tiling: { orientation: "h", pad: 0 },
      ids: nodes.map((n) => n.id), parents: nodes.map((n) => n.parent),
      labels: nodes.map((n) => n.text), values: nodes.map((n) => n.value),
      customdata: nodes.map((n) => n.hover), hovertemplate: "%{customdata}<extra></extra>",
      textinfo: "label", textposition: "middle left", textfont: font,
      marker: { colors: nodes.map(fill), line: { color: paper, width: 0.75 } },
      pathbar: { visible: false }, root: { color: colour("--tint") },
    };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", font,
      uniformtext: { minsize: 11, mode: "hide" },
      hoverlabel: { bgcolor: colour("--ink"), bordercolor: colour("--ink"), align: "left",
        font: { ...font, color: paper, size: 14 } },
    };
    const config = { displayModeBar: false, displaylogo: false, responsive: true, doubleClick: false };
    return [[trace], layout, config];
  }

  function zoomTo(level) {
    if (level === shown.level || !communities.length) return;
    shown.level = level;
    const duration = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500;
    Plotly.animate("icicle", { data: [{ level }], traces: [0] },
      { frame: { redraw: false, duration }, transition: { duration, easing: "cubic-in-out" },
        mode: "immediate", fromcurrent: true });
  }

  function clicked(event) {
    const { id } = event.points[0];
    const kind = id[0];
    if (kind === "w") show(Number(id.slice(1)));
    else if (kind === "m") choose(Number(id.slice(1)));
    else if (id === shown.level && kind === "c") {
      choose(null, { zoom: false });
      zoomTo(home(Number(id.slice(1))));
    } else if (kind === "c") choose(Number(id.slice(1)));
    else {
      choose(null, { zoom: false });
      zoomTo(id === shown.level ? (kind === "g" ? "rest" : "all") : id);
    }
    return false; // plotly's own zoom would run beside ours
  }

  // ---- the sentences

  function point(target) {
    const word = target instanceof Element ? target.closest(".w[role]") : null;
    const tip = byId("tip");
    tip.hidden = word === null;
    document.querySelector("[aria-describedby=tip]")?.removeAttribute("aria-describedby");
    if (!word) return;
    tip.replaceChildren(corpus("span", title(Number(word.dataset.community))));
    word.setAttribute("aria-describedby", "tip");
    const box = word.getBoundingClientRect();
    const right = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, Math.min(box.left, right))}px`;
    tip.style.top = `${scrollY + (above > 0 ? above : box.bottom + 6)}px`;
  }

  function walk(event) {
    const word = event.target.closest(".w[role]");
    if (!word) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      word.click();
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const line = [...word.closest("li").querySelectorAll(".w[role]")];
    const next = line[line.indexOf(word) + step];
    if (!next) return;
    event.preventDefault();
    word.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  // ---- wiring

  function build() {
    for (const { key, name, unit, extra } of COLUMNS) {
      const style = key === "word" ? "" : key === "community" ? "g" : `n${extra ? " extra" : ""}`;
      byId("heads").append(element("th", { scope: "col", class: style, "data-key": key },
        element("button", { type: "button", click: () => sortBy(key) }, element("span", {}, name),
          element("small", {}, unit ?? "\u00a0"))));
      byId("order").append(element("option", { value: key }, name));
    }
    const options = [element("option", { value: "" }, "All communities")];
    if (words.community.includes(-1)) options.push(element("option", { value: "-1" }, "Rare words"));
    communities.forEach((_, c) =>
      options.push(corpus("option", `${c + 1} ${label(c)}`, { value: c })));
    byId("community").append(...options);
  }

  function sortBy(key) {
    const rising = key === "word" || key === "community";
    state.falling = state.sort === key ? !state.falling : !rising;
    state.sort = key;
    state.page = 0;
    refresh();
  }

  function turn(step) {
    state.page += step;
    state.open = -1;
    draw();
  }

  build();
  refresh();
  byId("query").addEventListener("input", (event) => {
    state.query = event.target.value;
    state.page = 0;
    refresh();
  });
  byId("query").form.addEventListener("submit", (event) => event.preventDefault());
  byId("community").addEventListener("change", (event) =>
    choose(event.target.value === "" ? null : Number(event.target.value)));
  byId("order").addEventListener("change", (event) => sortBy(event.target.value));
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("clear").addEventListener("click", () => choose(null));
  byId("go").addEventListener("click", () => byId("words-title").focus({ preventScroll: true }));
  document.addEventListener("click", (event) => {
    const node = event.target instanceof Element ? event.target.closest("[data-community]") : null;
    if (!node) return;
    const c = Number(node.dataset.community);
    choose(c === state.community ? null : c);
  });
  const lines = document.querySelector(".samples");
  lines.addEventListener("pointerover", (event) => point(event.target));
  lines.addEventListener("pointerleave", () => point(null));
  lines.addEventListener("focusin", (event) => point(event.target));
  lines.addEventListener("focusout", () => point(null));
  lines.addEventListener("keydown", walk);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (!byId("tip").hidden) point(null);
    else if (state.community !== null) choose(null);
  });

  narrow.addEventListener("change", draw);

  if (communities.length) {
    const repaint = () => Plotly.react("icicle", ...figure());
    Plotly.newPlot("icicle", ...figure());
    byId("icicle").on("plotly_icicleclick", clicked);
    dark.addEventListener("change", repaint);
    narrow.addEventListener("change", repaint);
  } else {
    byId("icicle").closest("figure").hidden = true;
  }
})();
