// Text of the corpus is hostile: it enters the document through textContent alone.
(() => {
  const { words, communities, modules, parts, sentences, frame, lang } =
    JSON.parse(byId("data").textContent);
  const ROWS = 20; // rows of the table at a time: 20,000 would take the browser seconds
  const PALETTE = 10; // parts with a style of their own, as in _sections.py
  const SHOWN = 64; // blocks beside each other; smaller communities wait in nested groups
  const HITS = 8; // suggestions of the search
  const RARE = "rare"; // chosen like a community
  const COLUMNS = [
    { key: "word", name: "Word", show: (i) => words.word[i] },
    { key: "count", name: "Count", show: (i) => whole(words.count[i]) },
    { key: "cohesion", name: "Cohesion", unit: "bits", extra: true, show: (i) => bits(words.cohesion[i]) },
    { key: "freedom", name: "Freedom", unit: "bits", extra: true, show: (i) => bits(words.freedom[i]) },
    { key: "bits_saved", name: "Saved", unit: "bits", extra: true, show: (i) => whole(words.bits_saved[i]) },
    { key: "bits_net", name: "Net", unit: "bits", show: (i) => whole(words.bits_net[i]) },
    { key: "community", name: "Community" },
  ];
  // choice: the number of a community or of a module above, as text, RARE, or null for all
  const state = { query: "", choice: null, sort: "bits_net", falling: true, page: 0, open: -1 };
  const narrow = matchMedia("(max-width: 47rem)");
  const dark = matchMedia("screen and (prefers-color-scheme: dark)"); // paper is white
  const folded = words.word.map(fold);
  const shown = { rows: [], level: "all" };

  // the hierarchy: modules and communities by their number
  const root = { key: "", path: [], children: [] };
  const groups = new Map([["", root]]);
  const leaves = communities.map((c) => ({ ...c, key: c.path.join("."), children: [] }));
  for (const group of [...modules.map((m) => ({ ...m, key: m.path.join("."), children: [] })), ...leaves]) {
    groups.set(group.key, group);
  }
  for (const group of groups.values()) {
    if (group !== root) groups.get(group.path.slice(0, -1).join(".")).children.push(group);
  }
  for (const group of groups.values()) group.children.sort((a, b) => a.path.at(-1) - b.path.at(-1));

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

  function label(group, most = 4) {
    return group.label.slice(0, most).join(" · ");
  }

  function title(key) {
    if (key === RARE) return "Words too rare to place";
    return `Community ${key}: ${label(groups.get(key))}`;
  }

  /** The place of the part that a group is in, 0 to 9, or PALETTE for none. */
  function style(group) {
    const part = parts.findIndex((key) => within(group.key, key));
    return part < 0 ? PALETTE : part;
  }

  /** Its depth below the part that it is in; what was opened into parts comes last of all. */
  function depth(group) {
    if (parts.some((key) => key.startsWith(`${group.key}.`))) return Infinity;
    const part = parts[style(group)];
    return part ? group.path.length - part.split(".").length + 1 : group.path.length;
  }

  function keyOf(i) {
    return words.community[i] < 0 ? RARE : leaves[words.community[i]].key;
  }

  function within(key, choice) {
    return choice === null || key === choice || key.startsWith(`${choice}.`);
  }

  function corpus(tag, text, attributes = {}) {
    return element(tag, { lang, dir: "auto", ...attributes }, text);
  }

  // ---- the table of words

  function select() {
    const query = fold(state.query.trim());
    const rows = [];
    const inside = leaves.map(({ key }) => within(key, state.choice));
    const rare = within(RARE, state.choice);
    for (let i = 0; i < folded.length; i++) {
      if (!(words.community[i] < 0 ? rare : inside[words.community[i]])) continue;
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
    byId("community").value = state.choice ?? "";
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
      if (column.key === "community") return element("td", { class: "g" }, chip(keyOf(i)));
      const loss = column.key.startsWith("bits") && words[column.key][i] < 0 ? " loss" : "";
      return element("td", { class: `n${column.extra ? " extra" : ""}${loss}` }, column.show(i));
    });
    return element("tr", { "data-word": i }, ...cells);
  }

  function chip(key) {
    if (key === RARE) {
      return element("button", { type: "button", click: () => choose(key) },
        element("span", { class: "name" }, "rare"));
    }
    const group = groups.get(key);
    return element("button", { type: "button", title: title(key), click: () => choose(key) },
      element("span", { class: `number c${style(group)}` }, key),
      corpus("span", label(group), { class: "name" }));
  }

  function detail(i) {
    const visible = COLUMNS.filter((column) => !(column.extra && narrow.matches));
    const cell = element("td", { colspan: visible.length });
    const figures = COLUMNS.filter((column) => column.extra)
      .map((column) => `${column.name.toLowerCase()} ${column.show(i)}`).join(", ");
    cell.append(element("p", {}, corpus("b", words.word[i]),
      ` occurs ${whole(words.count[i])} times; in bits: ${figures}, net ${whole(words.bits_net[i])}.`));
    if (words.neighbours[i].length) cell.append(company(i, show));
    const quote = example(i);
    if (quote) cell.append(quote);
    if (map && words.x[i] !== null) {
      cell.append(element("p", {}, element("button", { type: "button", class: "link",
        click: () => goTo(i, { scroll: true }) }, "Show it on the map")));
    }
    return element("tr", { class: "detail" }, cell);
  }

  function company(i, go, most = 10) {
    const links = words.neighbours[i].slice(0, most).map((j) =>
      corpus("button", words.word[j], { type: "button", class: "link", click: () => go(j) }));
    return element("p", {}, "In like surroundings: ", ...links);
  }

  /** A sentence that holds word i, the word marked. */
  function example(i) {
    const sentence = sentences[words.example[i]];
    if (sentence === undefined) return null;
    const word = words.word[i];
    const quote = corpus("span", "");
    const start = standing(sentence, word);
    if (start < 0) quote.append(sentence);
    else {
      const end = start + word.length;
      quote.append(sentence.slice(0, start), element("mark", {}, word), sentence.slice(end));
    }
    return element("p", {}, "For example: ", quote);
  }

  /** Where a word stands in a sentence: by itself if it can, else inside of another. */
  function standing(sentence, word) {
    const letter = /[\p{L}\p{M}\p{N}]/u;
    for (let at = sentence.indexOf(word); at >= 0; at = sentence.indexOf(word, at + 1)) {
      if (!letter.test(sentence[at - 1] ?? " ") && !letter.test(sentence[at + word.length] ?? " ")) return at;
    }
    return sentence.indexOf(word);
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
      if (!within(keyOf(i), state.choice)) choose(null);
      select();
    }
    state.page = Math.floor(shown.rows.indexOf(i) / ROWS);
    state.open = i;
    draw();
    const button = focusRow(i);
    if (button) button.scrollIntoView({ block: "center" });
  }

  // ---- one choice of a community, obeyed by every part of the page

  function choose(key, { zoom = true } = {}) {
    state.choice = key;
    state.page = 0;
    state.open = -1;
    refresh();
    document.body.toggleAttribute("data-isolated", key !== null);
    for (const node of document.querySelectorAll("[data-group]")) {
      const { group } = node.dataset;
      if (node.classList.contains("w")) node.classList.toggle("chosen", key !== null && within(group, key));
      else node.setAttribute("aria-pressed", String(group === key));
    }
    byId("choice").hidden = key === null;
    if (key !== null) {
      const size = `${whole(shown.rows.length)} word${shown.rows.length === 1 ? "" : "s"}`;
      byId("chosen").replaceChildren(corpus("span", title(key)), ` (${size} in the table)`);
    }
    if (map) dressMap();
    if (zoom) zoomTo(key === null || key === RARE ? "all" : `c${key}`);
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

  /** The blocks; each is as tall as its parts, summed from the ends so that none outgrows the whole. */
  function tree() {
    const nodes = [];
    const add = (id, parent, text, tone, hover) => {
      const node = { id, parent, text: `\u00a0${safe(text)}`, value: 0, tone, hover: safe(hover) };
      nodes.push(node);
      return node;
    };
    const hold = (node, parts) => {
      node.value = parts.reduce((sum, value) => sum + value, 0) * (1 + 1e-9);
      return node.value;
    };

    function leaf(group, node) {
      const tone = `--c${style(group)}`;
      const unit = group.share / Math.max(group.uses, 1);
      let left = group.share;
      for (const i of group.members) {
        const value = words.count[i] * unit;
        left -= value;
        const times = `${words.word[i]}: ${whole(words.count[i])} times`;
        add(`w${i}`, node.id, words.word[i], tone, times).value = value * (1 - 1e-9);
      }
      const more = group.size - group.members.length;
      if (more > 0 && left > 0 && group.members.length) { // a lone mark is its own name
        add(`m${group.key}`, node.id, `${whole(more)} more`, "none", `${whole(more)} more words`).value =
          left * (1 - 1e-6);
      }
      node.value = group.share * (1 + 1e-9);
      return node.value;
    }

    function branch(group, parent) {
      const size = `${share(group.share)} of the text, ${whole(group.size)} words`;
      const node = add(`c${group.key}`, parent, `${group.key} ${label(group)}`, `--c${style(group)}`,
        `${title(group.key)}. ${size}`);
      return group.children.length ? hold(node, inside(group.children, node.id)) : leaf(group, node);
    }

    /** Draw many siblings as the leading ones and a block of the others, in runs if they are many. */
    function inside(children, parent) {
      const size = crowd(children.length);
      const values = children.slice(0, size ? SHOWN : undefined).map((child) => branch(child, parent));
      if (!size) return values;
      const gather = (name, id, above, list) => {
        const node = add(id, above, name, "none", name);
        hold(node, list(node.id));
        node.hover += `. ${share(node.value)} of the text`;
        return node.value;
      };
      const runs = (above) => {
        const parts = [];
        for (let from = SHOWN; from < children.length; from += size) {
          const run = children.slice(from, from + size);
          parts.push(gather(`${run[0].key} to ${run.at(-1).key}`, `g${run[0].key}`, above,
            (id) => run.map((child) => branch(child, id))));
        }
        return parts;
      };
      const rest = children.slice(SHOWN);
      values.push(gather(`${whole(rest.length)} smaller ones`, `r${parent}`, parent,
        (id) => (size === Infinity ? rest.map((child) => branch(child, id)) : runs(id))));
      return values;
    }

    const many = `${whole(communities.length)} ${communities.length === 1 ? "community" : "communities"}`;
    const all = add("all", "", "All words", "none", many);
    all.text += `<br>\u00a0${many}`;
    hold(all, inside(root.children, "all"));
    return nodes;
  }

  /** 0: all fit beside each other; Infinity: the rest fits in one group; else the size of a run. */
  function crowd(count) {
    const rest = count - SHOWN;
    return rest <= 5 ? 0 : rest <= 2 * SHOWN ? Infinity : Math.max(SHOWN, Math.ceil(rest / SHOWN));
  }

  const nodes = tree();
  const above = new Map(nodes.map((node) => [node.id, node.parent]));
  // a column of its own for a level that most of the text has
  const deep = leaves.reduce((sum, leaf) => sum + (leaf.path.length > 1 ? leaf.share : 0), 0);
  const columns = deep > root.children.reduce((sum, group) => sum + group.share, 0) / 2 ? 4 : 3;

  function figure() {
    const paper = colour("--paper");
    const level = (node) => (node.id[0] === "c" ? 0.62 * 0.82 ** node.id.split(".").length : 0.28);
    const depth = (node) => (node.tone === "--c10" ? 0.5 : 1) * level(node); // the deeper the paler
    const fill = (node) => node.tone === "none"
      ? mixed(colour("--line"), paper, 0.5) : mixed(colour(node.tone), paper, depth(node));
    const font = { family: getComputedStyle(document.body).fontFamily, color: colour("--ink"), size: 15 };
    const trace = {
      type: "icicle", branchvalues: "total", sort: false, level: shown.level,
      maxdepth: narrow.matches ? 2 : columns, tiling: { orientation: "h", pad: 0 },
      ids: nodes.map((n) => n.id), parents: nodes.map((n) => n.parent),
      labels: nodes.map((n) => n.text), values: nodes.map((n) => n.value),
      customdata: nodes.map((n) => n.hover), hovertemplate: "%{customdata}<extra></extra>",
      textinfo: "label", textposition: "middle left", textfont: font,
      marker: { colors: nodes.map(fill), line: { color: paper, width: 0.75 } },
      pathbar: { visible: false }, root: { color: colour("--tint") },
    };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", font,
      uniformtext: { minsize: 13, mode: "hide" },
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
    else if (kind === "m") choose(id.slice(1));
    else if (kind === "c" && id !== shown.level) choose(id.slice(1));
    else { // a block that gathers, or the one that is open: back to what holds it
      const to = id === shown.level ? above.get(id) || "all" : id;
      const key = to[0] === "c" ? to.slice(1) : null;
      choose(key, { zoom: false });
      zoomTo(to);
    }
    return false; // plotly's own zoom would run beside ours
  }

  // ---- the map

  const search = { word: -1, hits: [], active: -1 };
  let map = null;

  /** Median of the places of a group's words, weighing nothing: where most of its points lie. */
  function centres() {
    const members = new Map();
    words.x.forEach((x, i) => {
      const c = words.community[i];
      if (x === null || c < 0) return;
      for (let depth = 1; depth <= leaves[c].path.length; depth++) {
        const key = leaves[c].path.slice(0, depth).join(".");
        if (!members.has(key)) members.set(key, []);
        members.get(key).push(i);
      }
    });
    const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    const names = [];
    for (const [key, list] of members) {
      const group = groups.get(key);
      if (list.length < 2) continue; // a lone word is its own name
      names.push({ key, text: [label(group, 3), label(group, 2)], depth: depth(group), share: group.share,
        style: `c${style(group)}`, large: parts.includes(key),
        x: median(list.map((i) => words.x[i])), y: median(list.map((i) => words.y[i])) });
    }
    return names.sort((a, b) => a.depth - b.depth || b.share - a.share);
  }

  function makeMap() {
    const most = words.count.reduce((a, b) => Math.max(a, b), 1);
    const places = {
      frame,
      x: words.x, y: words.y, text: words.word,
      size: words.count.map((n) => Math.max(1.5, 11 * (n / most) ** 0.25)),
      tone: words.community.map((c) => (c < 0 ? PALETTE : style(leaves[c]))),
    };
    map = wordMap(places, centres(), {
      lang, neutral: PALETTE,
      near: (i) => words.neighbours[i],
      hover: (i) => tell(i >= 0 ? i : search.word, i >= 0),
      pick: (i) => pin(i === search.word ? -1 : i),
      isolate: (key) => choose(key === state.choice ? null : key),
      moved: () => settle(),
    });
    if (map.few) {
      byId("plain").textContent =
        ` This browser draws no WebGL, so only the ${whole(map.few)} most frequent words are drawn.`;
    }
    dressMap();
    byId("seek").addEventListener("input", suggest);
    byId("seek").addEventListener("keydown", steer);
    byId("seek").addEventListener("blur", () => close());
    byId("seek").addEventListener("focus", suggest);
    byId("hits").addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus
    byId("hits").addEventListener("click", (event) => {
      const hit = event.target.closest("[data-word]");
      if (hit) take(Number(hit.dataset.word));
    });
  }

  function dressMap() {
    const tones = {};
    for (let k = 0; k <= PALETTE; k++) tones[k] = colour(`--c${k}`);
    const inside = leaves.map(({ key }) => within(key, state.choice));
    const rare = within(RARE, state.choice);
    const chosen = (i) => (words.community[i] < 0 ? rare : inside[words.community[i]]);
    map.dress({ tones, paper: colour("--paper"), ink: colour("--ink"),
      font: getComputedStyle(document.body).fontFamily,
      isolated: state.choice, chosen: state.choice === null ? null : chosen });
  }

  /** Choose a word on the map: its card stays, its nearest words are linked. */
  function pin(i) {
    search.word = i;
    if (i < 0 && byId("card").contains(document.activeElement)) byId("chart").focus({ preventScroll: true });
    map.link(i);
    tell(i);
  }

  function goTo(i, { scroll = false } = {}) {
    if (!within(keyOf(i), state.choice)) choose(null);
    pin(i);
    map.flyTo(i, narrow.matches ? { x: 0, y: 0.22 } : { x: 0.12, y: 0 }); // room for the card
    if (scroll) {
      byId("chart").scrollIntoView({ block: "center" });
      byId("chart").focus({ preventScroll: true });
    }
  }

  /** Fill the card; a passing one has no buttons, for nobody could reach them. */
  function tell(i, passing = false) {
    const card = byId("card");
    card.hidden = i < 0;
    card.classList.toggle("passing", passing && i !== search.word);
    if (i < 0 || card.dataset.word === `${i} ${passing}`) return settle();
    card.dataset.word = `${i} ${passing}`;
    const key = keyOf(i);
    const times = words.count[i] === 1 ? "once" : `${whole(words.count[i])} times`;
    const parts = [
      element("button", { type: "button", class: "shut", "aria-label": "Close", click: () => pin(-1) }, "×"),
      element("p", { class: "what" }, corpus("b", words.word[i]), ` ${times}`),
      element("p", { class: "where" }, chip(key)),
    ];
    if (words.neighbours[i].length) parts.push(company(i, goTo, 6));
    const quote = example(i);
    if (quote) parts.push(quote);
    parts.push(element("p", { class: "acts" },
      element("button", { type: "button", class: "link", click: () => show(i) }, "Show it in the table")));
    const held = card.contains(document.activeElement);
    card.replaceChildren(...parts);
    if (held) card.focus({ preventScroll: true });
    card.dataset.of = i;
    settle();
  }

  /** Put a passing card beside its word, one that stays at the side that is farther from it. */
  function settle() {
    const card = byId("card");
    if (card.hidden || !map || narrow.matches) return card.removeAttribute("style");
    const { x, y, r } = map.spot(Number(card.dataset.of));
    const { w, h } = map.size;
    const gap = r + 14;
    const [wide, high] = [card.offsetWidth, card.offsetHeight];
    let left = x + gap + wide < w - 8 ? x + gap : x - gap - wide;
    let top = y - 40;
    if (!card.classList.contains("passing")) [left, top] = [x < w / 2 ? w : 0, h];
    left = Math.max(8, Math.min(w - wide - 8, left));
    top = Math.max(8, Math.min(h - high - 8, top));
    card.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px)`;
  }

  // ---- its search

  /** The words that begin with the query, then those that hold it, the most frequent first. */
  function find(query) {
    const ranks = [];
    folded.forEach((text, i) => {
      const at = words.x[i] === null ? -1 : text.indexOf(query);
      if (at >= 0) ranks.push([text === query ? 0 : at === 0 ? 1 : 2, -words.count[i], i]);
    });
    return ranks.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]).slice(0, HITS).map((r) => r[2]);
  }

  function suggest() {
    const query = fold(byId("seek").value.trim());
    search.hits = query ? find(query) : [];
    search.active = -1;
    byId("found").textContent = !query || search.hits.length ? "" : absent(query);
    list();
  }

  function absent(query) {
    return folded.includes(query) ? "This word is too rare to have a place on the map; the table has it."
      : "No word on the map fits.";
  }

  function list() {
    const field = byId("seek");
    const open = search.hits.length > 0;
    byId("hits").hidden = !open;
    field.setAttribute("aria-expanded", String(open));
    byId("hits").replaceChildren(...search.hits.map((i, k) => element("li", { role: "option", id: `hit${k}`,
      "data-word": i, "aria-selected": String(k === search.active) },
      element("i", { class: `dot c${words.community[i] < 0 ? PALETTE : style(leaves[words.community[i]])}` }),
      corpus("span", words.word[i], { class: "name" }),
      element("span", { class: "share" }, whole(words.count[i])))));
    if (search.active >= 0) field.setAttribute("aria-activedescendant", `hit${search.active}`);
    else field.removeAttribute("aria-activedescendant");
  }

  function close() {
    search.hits = [];
    list();
  }

  function take(i) {
    byId("seek").value = words.word[i];
    close();
    goTo(i);
    const view = byId("chart").getBoundingClientRect();
    if (view.bottom > innerHeight || view.top < 0) {
      document.querySelector(".finder").scrollIntoView({ block: "start" });
    }
  }

  function steer(event) {
    const { hits, active } = search;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && hits.length) {
      event.preventDefault();
      search.active = (active + step + hits.length + (active < 0 && step < 0 ? 1 : 0)) % hits.length;
      list();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const best = hits[Math.max(active, 0)] ?? find(fold(byId("seek").value.trim() || "\u0000"))[0];
      if (best !== undefined) take(best);
    } else if (event.key === "Escape" && hits.length) {
      event.stopPropagation();
      close();
    }
  }

  // ---- the sentences

  function point(target) {
    const word = target instanceof Element ? target.closest(".w[role]") : null;
    const tip = byId("tip");
    tip.hidden = word === null;
    document.querySelector("[aria-describedby=tip]")?.removeAttribute("aria-describedby");
    if (!word) return;
    tip.replaceChildren(corpus("span", title(word.dataset.group)));
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
    if (words.community.includes(-1)) options.push(element("option", { value: RARE }, "Rare words"));
    const list = (group) => {
      for (const child of group.children) {
        const indent = "\u2003".repeat(child.path.length - 1);
        options.push(corpus("option", `${indent}${child.key} ${label(child)}`, { value: child.key }));
        list(child);
      }
    };
    list(root);
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
    choose(event.target.value === "" ? null : event.target.value));
  byId("order").addEventListener("change", (event) => sortBy(event.target.value));
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("clear").addEventListener("click", () => choose(null));
  byId("go").addEventListener("click", () => byId("words-title").focus({ preventScroll: true }));
  document.addEventListener("click", (event) => {
    const node = event.target instanceof Element ? event.target.closest("[data-group]") : null;
    if (node) choose(node.dataset.group === state.choice ? null : node.dataset.group);
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
    else if (map && search.word >= 0) pin(-1);
    else if (state.choice !== null) choose(null);
  });

  narrow.addEventListener("change", draw);

  if (byId("map")) {
    makeMap();
    dark.addEventListener("change", dressMap);
    narrow.addEventListener("change", settle);
  }
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
