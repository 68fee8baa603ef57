// Names of nodes are hostile: they enter the document through textContent alone.
(() => {
  const { directed, within, levels, modules, names, visits, picture } =
    JSON.parse(byId("data").textContent);
  const LEAST = 2; // pixels: narrower modules are gathered
  const LEAST_NODE = 16;
  const LEAST_UPRIGHT = 11; // a line of small letters
  const FAINT = 8; // pixels: narrower gatherings are not hatched
  const ROWS = 20; // of the table, until more are asked for
  const SOLID = 10; // as in page.py
  const GREY = 20;
  const narrow = matchMedia("(max-width: 47rem)");
  const ink = document.createElement("canvas").getContext("2d"); // measures text
  const SVG = "http://www.w3.org/2000/svg";

  // the modules that can be opened: children stand side by side, by decreasing flow
  const parent = [-1, ...modules.parent];
  const first = modules.flow.map(() => -1);
  const known = modules.flow.map(() => 0);
  const rank = modules.flow.map(() => 0);
  const depth = modules.flow.map(() => 0);
  for (let m = 1; m < parent.length; m++) {
    const p = parent[m];
    if (first[p] < 0) first[p] = m;
    rank[m] = known[p]++;
    depth[m] = depth[p] + 1;
  }

  function shape(tag, attributes, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function whole(x) {
    return x.toLocaleString("en-US");
  }

  function many(n, noun) {
    return `${whole(n)} ${noun}${n === 1 ? "" : "s"}`;
  }

  function percent(x) {
    if (x > 0 && x < 0.0005) return "< 0.1\u00a0%";
    return `${(100 * x).toFixed(x >= 0.0995 ? 0 : 1)}\u00a0%`;
  }

  function bits(x) {
    return x > 0 && x < 0.005 ? "< 0.01" : x.toFixed(2);
  }

  function number(m) {
    const path = [];
    for (let k = m; k > 0; k = parent[k]) path.unshift(rank[k] + 1);
    return path.join(":");
  }

  function title(m) {
    return m === 0 ? "The whole network" : `Module ${number(m)}`;
  }

  /** Return the names of the leading nodes of module m, each kept apart from its surroundings. */
  function leaders(m, most = 10) {
    const parts = [];
    for (const k of modules.lead[m].slice(0, most)) {
      if (parts.length) parts.push(" · ");
      parts.push(element("bdi", { lang: "", translate: "no" }, names[k]));
    }
    return parts;
  }

  function account(m) {
    const inside = modules.children[m] ? `, ${many(modules.children[m], "module")} inside` : "";
    const leave = m ? `; ${percent(modules.leave[m])} of the steps from it leave` : "";
    return `${percent(modules.flow[m] / modules.flow[0])} of the flow, ` +
      `${many(modules.nodes[m], "node")}${inside}${leave}.`;
  }

  // ---- the icicle. An item is a module, a run [from, to) of the children of one, or a node.

  const state = { view: { m: within }, row: 0, column: 0 };
  let drawn = []; // rows of items with {left, width} in pixels

  function flowOf(item) {
    const { m, from, to } = item;
    if (from === undefined) return modules.flow[m];
    let sum = 0;
    const end = Math.min(to, known[m]);
    for (let i = from; i < end; i++) sum += modules.flow[first[m] + i];
    if (to > known[m]) { // what is not on the page
      let all = modules.flow[m];
      for (let i = 0; i < known[m]; i++) all -= modules.flow[first[m] + i];
      sum += Math.max(all, 0);
    }
    return sum;
  }

  function same(a, b) {
    return a.m === b.m && a.from === b.from && a.to === b.to && a.node === b.node;
  }

  function ancestors(item) {
    const path = item.from === undefined ? [] : [{ m: item.m }];
    for (let k = parent[item.m]; k >= 0; k = parent[k]) path.push({ m: k });
    if (item.from === undefined && item.via) path.unshift(item.via);
    return path.reverse();
  }

  /** Lay out the figure for a width in pixels. */
  function layout(width) {
    const rows = [];
    const put = (row, item, left, wide) => (rows[row] ??= []).push({ ...item, left, wide });
    const { view } = state;
    const top = depth[view.m] + 1;
    for (let m = view.m, row = depth[view.m]; m >= 0; m = parent[m], row--) {
      put(row, { m }, 0, width);
    }
    const scale = width / flowOf(view);

    function inside(item, row, left, wide) {
      const { m } = item;
      if (!modules.children[m]) return nodes(m, row, left, wide);
      let i = item.from ?? 0;
      const to = item.to ?? modules.children[m];
      const start = i;
      let x = left;
      for (; i < to && i < known[m]; i++) {
        const child = first[m] + i;
        const w = modules.flow[child] * scale;
        if (w < LEAST && !(wide > 24 * (to - start))) break;
        put(row, { m: child }, x, w);
        inside({ m: child }, row + 1, x, w);
        x += w;
      }
      if (i === to || modules.flow[m] * scale < LEAST) return;
      const rest = { m, from: i, to };
      const end = left + wide;
      if (i > start || wide < width / 2 || i >= known[m]) put(row, rest, x, end - x);
      else runs(rest, row, left, wide);
    }

    /** Nothing is wide enough, and there is room: let runs of them be opened. */
    function runs({ m, from, to }, row, left, wide) {
      const last = Math.min(to, known[m]);
      const size = Math.ceil((last - from) / Math.max(2, Math.min(12, Math.floor(wide / 90))));
      let x = left;
      for (let a = from; a < last; a += size) {
        const run = { m, from: a, to: Math.min(a + size, last) };
        const w = flowOf(run) * scale;
        put(row, { ...run, run: true }, x, w);
        x += w;
      }
      if (to > last) put(row, { m, from: last, to }, x, left + wide - x);
    }

    function nodes(m, row, left, wide) {
      const unit = wide / modules.flow[m];
      let x = left;
      const opened = view.from === undefined && m === view.m;
      const least = opened ? LEAST_UPRIGHT : LEAST_NODE;
      const shown = modules.lead[m].filter((k) => visits[k] * unit >= least);
      const all = shown.length === modules.nodes[m];
      if (!all && (opened ? !shown.length : shown.length < 3 || wide < 90)) return;
      for (const k of shown) {
        put(row, { m, node: k }, x, visits[k] * unit);
        x += visits[k] * unit;
      }
      if (!all) put(row, { m, more: modules.nodes[m] - shown.length }, x, left + wide - x);
    }

    inside(view, top, 0, width);
    // a last row of nothing but slivers shows nothing
    while (rows.length > top + 1 && rows.at(-1).every((b) => b.from !== undefined && b.wide < FAINT)) {
      rows.pop();
    }
    return rows;
  }

  function heading(row, items) {
    const cost = element("div", { class: "cost" });
    const plain = items.length && items.every((item) => item.node !== undefined || item.more !== undefined);
    if (row >= levels.length || plain) cost.append(element("small", {}, "nodes"));
    else {
      const [count, price] = levels[row];
      cost.append(element("b", {}, `${bits(price)} bits`), " ",
        element("small", {}, row ? `level ${row}, ${many(count, "module")}` : "level 0, the index"));
    }
    return cost;
  }

  function face(item, tall) {
    const { m, wide } = item;
    if (item.node !== undefined) return words([names[item.node]], wide, tall, "");
    if (item.more !== undefined) return words([`${whole(item.more)} more`], wide, tall, "");
    if (item.from !== undefined) {
      const fresh = item.to - item.from;
      const text = item.from && item.to === modules.children[m]
        ? `${whole(fresh)} smaller` : `${whole(item.from + 1)}–${whole(item.to)}`;
      return words([text], wide, tall, "");
    }
    if (m === 0) return words([`all ${many(modules.nodes[0], "node")}`], wide, tall, "");
    return words(modules.lead[m].map((k) => names[k]), wide, tall, number(m));
  }

  /** Return what a block of this size can say. */
  function words(list, wide, tall, label) {
    const lines = Math.floor((tall - 8) / 17.5);
    const fits = label && wide >= 8 * label.length + 12;
    const parts = [];
    // a name that would break goes upright too, if it stands alone
    const longest = label || wide > 140 ? 0
      : Math.max(0, ...list.flatMap((name) => name.split(/\s/)).map((part) => ink.measureText(part).width));
    if (wide < 64 || (longest > wide - 12 && tall >= 64)) {
      if (tall >= 64 && wide >= LEAST_UPRIGHT && list.length) {
        parts.push(element("span", { class: wide < 17 ? "upright small" : "upright" },
          element("bdi", {}, list[0])));
      } else if (fits) parts.push(element("span", { class: "number-of" }, label));
      return parts;
    }
    const own = label && lines > 1 && fits;
    if (own) parts.push(element("span", { class: "number-of" }, label));
    if (own && wide < 170) { // a name a line: broken words are worse than cut ones
      const each = list.slice(0, lines - 1).map((name) => element("bdi", {}, name));
      parts.push(element("span", { class: "list", lang: "" }, ...each));
      return parts;
    }
    const text = element("span", { class: "words", style: `--lines:${lines - (own ? 1 : 0)}`, lang: "" });
    if (!own) text.style.paddingTop = "4px";
    list.forEach((name, k) => text.append(...(k ? [" · "] : []), element("bdi", {}, name)));
    if (label && !own && fits) text.prepend(element("b", {}, label), " ");
    parts.push(text);
    return parts;
  }

  function describe(item) {
    const { m } = item;
    if (item.node !== undefined) {
      return [element("p", {}, element("b", {}, element("bdi", { lang: "" }, names[item.node]))),
        element("p", {}, `${percent(visits[item.node])} of the flow, in module ${number(m)}.`)];
    }
    if (item.more !== undefined) {
      return [element("p", {}, `${many(item.more, "more node")} of module ${number(m)}.`)];
    }
    if (item.from !== undefined) {
      const where = m ? ` in module ${number(m)}` : "";
      const size = item.to - item.from;
      const hint = item.from >= known[m] ? " They cannot be opened on this page." : "";
      return [element("p", {}, element("b", {}, `${many(size, "module")}${where}`)),
        element("p", {}, `Numbers ${whole(item.from + 1)} to ${whole(item.to)}, ` +
          `${percent(flowOf(item) / modules.flow[0])} of the flow.${hint}`)];
    }
    return [element("p", {}, element("b", {}, title(m)), `: ${account(m)}`),
      element("p", {}, "Most visited: ", ...leaders(m), ".")];
  }

  function dress(item) {
    if (item.from !== undefined && item.run) return "block run gap";
    if (item.more !== undefined || item.from !== undefined) return item.wide < FAINT ? "block rest faint" : "block rest";
    const style = modules.style[item.m];
    const colour = style < 0 ? "grey" : `s${style}`;
    if (item.node !== undefined) return `block node ${colour}`;
    const striped = style >= SOLID && style < GREY && item.wide >= 9 ? " striped" : "";
    return `block ${colour}${striped}${item.wide >= 5 ? " gap" : ""}`;
  }

  /** The deeper a module and the later among its siblings, the paler; neighbours always differ. */
  function mix(m) {
    const below = Math.max(depth[m] - depth[within] - 1, 0);
    const base = `calc(var(--full) * ${(0.8 ** below * (modules.style[m] >= SOLID ? 0.75 : 1)).toFixed(3)}`;
    return `${base} * ${rank[m] % 2 ? 0.84 : 1})`;
  }

  function sizeOfRows(count) {
    return Math.max(44, Math.min(150, Math.round(440 / Math.max(count - 1, 1))));
  }

  function draw() {
    const box = byId("icicle");
    const gutter = narrow.matches ? 0 : 10.5 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = box.clientWidth - gutter;
    drawn = layout(width);
    const used = drawn.length;
    const total = Math.max(used, levels.length);
    const passed = depth[state.view.m] + 1; // full-width rows need one line of text only
    const tall = sizeOfRows(used - passed + 1);
    const rows = [];
    for (let row = 0; row < total; row++) {
      const items = drawn[row] ?? [];
      const high = row < passed ? 40 : tall;
      const blocks = element("div", { class: "blocks", style: `--tall:${high}px` });
      items.forEach((item, column) => {
        const block = element("button", { type: "button", class: dress(item), tabindex: -1,
          "data-row": row, "data-column": column });
        block.style.left = `${((100 * item.left) / width).toFixed(4)}%`;
        block.style.width = `${((100 * item.wide) / width).toFixed(4)}%`;
        if (item.from === undefined && item.node === undefined && item.m) {
          block.style.setProperty("--mix", mix(item.m));
        }
        block.append(...face(item, high));
        block.setAttribute("aria-label", describe(item).map((p) => p.textContent).join(" "));
        blocks.append(block);
      });
      rows.push(items.length ? element("div", { class: "level" }, heading(row, items), blocks)
        : element("div", { class: "level bare" }, heading(row, items)));
    }
    box.replaceChildren(...rows);
    state.row = Math.min(state.row, drawn.length - 1);
    state.column = Math.min(state.column, drawn[state.row].length - 1);
    blockAt(state.row, state.column).tabIndex = 0;
    trail();
    byId("detail").replaceChildren(...describe(state.view));
  }

  function trail() {
    const path = [...ancestors(state.view), state.view];
    byId("crumbs").replaceChildren(...path.map((item, k) => {
      const text = item.from !== undefined ? `${whole(item.from + 1)}–${whole(item.to)}`
        : item.m ? number(item.m) : "All";
      if (k === path.length - 1) return element("span", { "aria-current": "true" }, text);
      return element("span", {}, element("button", { type: "button", click: () => open(item) }, text));
    }));
    byId("crumbs").classList.toggle("alone", path.length === 1);
  }

  function blockAt(row, column) {
    return byId("icicle").querySelector(`[data-row="${row}"][data-column="${column}"]`);
  }

  function focusBlock(row, column) {
    const old = blockAt(state.row, state.column);
    if (old) old.tabIndex = -1;
    Object.assign(state, { row, column });
    const block = blockAt(row, column);
    block.tabIndex = 0;
    block.focus({ preventScroll: true });
  }

  /** Zoom to an item, and leave the focus on `mark` if the keyboard was in the figure. */
  function open(item, mark = item) {
    const held = byId("icicle").contains(document.activeElement);
    const { m, from, to } = item;
    const via = item.via ?? (state.view.from !== undefined && parent[m] === state.view.m &&
      from === undefined ? { m: state.view.m, from: state.view.from, to: state.view.to } : undefined);
    state.view = { m, from, to, via };
    point(null);
    draw();
    let at = [depth[m], 0];
    drawn.forEach((row, r) => row.forEach((other, c) => {
      if (same(other, { m: mark.m, from: mark.from, to: mark.to })) at = [r, c];
    }));
    if (held) focusBlock(...at);
    else {
      blockAt(state.row, state.column).tabIndex = -1;
      Object.assign(state, { row: at[0], column: at[1] });
      blockAt(...at).tabIndex = 0;
    }
  }

  function back() {
    const path = ancestors(state.view);
    if (!path.length) return false;
    open(path[path.length - 1], state.view);
    return true;
  }

  function activate(item) {
    if (item.node !== undefined || item.more !== undefined) {
      if (!same(state.view, { m: item.m })) open({ m: item.m });
    } else if (item.from >= known[item.m]) return;
    else if (same(item, state.view)) back();
    else open({ m: item.m, from: item.from, to: item.to });
  }

  function walk(event) {
    const { row, column } = state;
    const here = drawn[row][column];
    const middle = here.left + here.wide / 2;
    const under = (r) => drawn[r]?.findIndex((b) => b.left <= middle && middle < b.left + b.wide);
    const first = (r) => drawn[r]?.findIndex((b) => b.left >= here.left - 0.01 && b.left < here.left + here.wide);
    const to = {
      ArrowRight: () => [row, Math.min(column + 1, drawn[row].length - 1)],
      ArrowLeft: () => [row, Math.max(column - 1, 0)],
      ArrowUp: () => [row - 1, under(row - 1)],
      ArrowDown: () => [row + 1, first(row + 1)],
      Home: () => [row, 0],
      End: () => [row, drawn[row].length - 1],
    }[event.key]?.();
    if (event.key === "Escape") {
      if (back()) event.stopPropagation(); // at the top, Escape closes the tip
      return;
    }
    if (!to) return;
    event.preventDefault();
    if (to[1] >= 0) focusBlock(...to);
  }

  // ---- the tip

  function tell(box, parts) {
    const tip = byId("tip");
    tip.hidden = false;
    tip.replaceChildren(...parts);
    const right = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const above = box.top - tip.offsetHeight - 6;
    const middle = (box.left + box.right) / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(8, Math.min(middle, right))}px`;
    tip.style.top = `${scrollY + (above > 0 ? above : box.bottom + 6)}px`;
  }

  function point(target) {
    const block = target instanceof Element ? target.closest(".block") : null;
    byId("tip").hidden = true;
    if (!block) return;
    const item = drawn[block.dataset.row]?.[block.dataset.column];
    if (item) tell(block.getBoundingClientRect(), describe(item));
  }

  // ---- the picture

  const spots = picture.at;
  const links = picture.links;
  const single = picture.nodes.length > 0; // circles are nodes
  let shapes = [];
  let lines = [];
  let chosen = -1;

  function spotName(k) {
    if (single) return names[picture.nodes[k]];
    const lead = modules.lead[spots[k][3]][0];
    return lead === undefined ? "" : names[lead];
  }

  function spotFlow(k) {
    return single ? visits[picture.nodes[k]] : modules.flow[spots[k][3]];
  }

  function neighbours(k) {
    const near = new Map();
    for (const [a, b, flow] of links) {
      const other = a === k ? b : b === k ? a : -1;
      if (other >= 0) near.set(other, (near.get(other) ?? 0) + flow);
    }
    return [...near].sort((x, y) => y[1] - x[1] || x[0] - y[0]).slice(0, 5);
  }

  function sayOf(k) {
    const m = spots[k][3];
    const parts = [];
    if (single) {
      parts.push(element("p", {}, element("b", {}, element("bdi", { lang: "" }, spotName(k)))),
        element("p", {}, `${percent(spotFlow(k))} of the flow, in module ${number(m)}.`));
    } else parts.push(...describe({ m }));
    const near = neighbours(k);
    if (near.length) {
      const list = near.flatMap(([other], i) => [
        i ? " · " : "", ...(single ? [] : [`${number(spots[other][3])} `]),
        element("bdi", { lang: "" }, spotName(other))]);
      parts.push(element("p", {}, "Strongest neighbours: ", ...list, "."));
    }
    return parts;
  }

  function paint() {
    const box = byId("map");
    if (!spots.length) {
      box.closest("section").hidden = true;
      return;
    }
    const width = box.clientWidth;
    const upright = width < 560;
    const [across, down] = upright ? [picture.box[1], picture.box[0]] : picture.box;
    const scale = width / across;
    const height = Math.round(down * scale);
    const at = spots.map(([x, y, r]) => ({
      x: (upright ? y : x) * scale, y: (upright ? x : y) * scale, r: Math.max(r * scale, 3),
    }));
    const below = shape("g", { "aria-hidden": "true" });
    const front = shape("g", {});
    const text = shape("g", { "aria-hidden": "true" });
    const strongest = links.length ? links[0][2] : 1;
    const shown = links.slice(0, single ? links.length : 4 * spots.length);
    lines = shown.map((link) => drawLink(link, at, strongest, width)).reverse();
    below.append(...lines.map((line) => line.node));
    shapes = at.map(({ x, y, r }, k) => {
      const style = modules.style[spots[k][3]];
      const kind = style < 0 ? "s20" : `s${style}${style >= SOLID && style < GREY ? " ringed" : ""}`;
      return shape("g", { class: `spot ${kind}`, tabindex: k ? -1 : 0, role: "img", "data-spot": k,
        "aria-label": sayOf(k).map((p) => p.textContent).join(" ") },
      shape("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: r.toFixed(1) }));
    });
    // small ones last, so that no circle hides another
    const order = at.map((_, k) => k).sort((a, b) => at[b].r - at[a].r || a - b);
    front.append(...order.map((k) => shapes[k]));
    text.append(...labels(at, order, width, height));
    box.replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, height }, below, front, text));
    choose(-1);
  }

  function drawLink([a, b, flow], at, strongest, width) {
    const wide = Math.max(0.4, (flow / strongest) * (single ? 1.6 : Math.max(7, width / 75)));
    const [p, q] = [at[a], at[b]];
    const gap = Math.hypot(q.x - p.x, q.y - p.y) || 1;
    const [ux, uy] = [(q.x - p.x) / gap, (q.y - p.y) / gap];
    const opacity = single ? 0.28 : Math.max(0.16, Math.min(0.45, 0.12 + wide / 14));
    const node = shape("g", { class: "wire", opacity: opacity.toFixed(2) });
    if (directed) {
      const tip = Math.max(4, 1.6 * wide);
      const bend = 0.12 * gap;
      const end = { x: q.x - ux * (q.r + 1) + uy * 2, y: q.y - uy * (q.r + 1) - ux * 2 };
      const middle = { x: (p.x + q.x) / 2 + uy * bend, y: (p.y + q.y) / 2 - ux * bend };
      const run = Math.hypot(end.x - middle.x, end.y - middle.y) || 1;
      const [vx, vy] = [(end.x - middle.x) / run, (end.y - middle.y) / run];
      const stop = { x: end.x - vx * tip, y: end.y - vy * tip };
      const half = tip * 0.55;
      const dots = [[end.x, end.y], [stop.x - vy * half, stop.y + vx * half],
        [stop.x + vy * half, stop.y - vx * half]];
      node.append(
        shape("path", { class: "link", "stroke-width": wide.toFixed(2), "stroke-linecap": "butt",
          d: `M${p.x.toFixed(1)} ${p.y.toFixed(1)}Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ` +
            `${stop.x.toFixed(1)} ${stop.y.toFixed(1)}` }),
        shape("path", { class: "tipped",
          d: `M${dots.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z` }));
    } else {
      node.append(shape("path", { class: "link", "stroke-width": wide.toFixed(2),
        d: `M${p.x.toFixed(1)} ${p.y.toFixed(1)}L${q.x.toFixed(1)} ${q.y.toFixed(1)}` }));
    }
    return { a, b, node };
  }

  /** Names where there is room, the largest circles first; no two of them overlap. */
  function labels(at, order, width, height) {
    const taken = [];
    const free = (box, own) => box.left >= 0 && box.right <= width && box.top >= 0 &&
      box.bottom <= height && !taken.some((b) => box.left < b.right && b.left < box.right &&
        box.top < b.bottom && b.top < box.bottom) &&
      !at.some(({ x, y, r }, k) => k !== own && Math.hypot(
        x - Math.max(box.left, Math.min(x, box.right)), y - Math.max(box.top, Math.min(y, box.bottom))) < r);
    const made = [];
    const write = (k, x, y, wide, string, kind) => {
      taken.push({ left: x - wide / 2 - 2, right: x + wide / 2 + 2, top: y - 8, bottom: y + 8 });
      made.push(shape("text", { x: x.toFixed(1), y: y.toFixed(1), class: kind,
        "data-of": k, style: "unicode-bidi: plaintext" }, string));
    };
    for (const k of order) {
      const { x, y, r } = at[k];
      const name = shortened(spotName(k), 150);
      const own = single ? "" : number(spots[k][3]);
      const inner = r < 40 || single ? name : shortened(spotName(k), 1.7 * r);
      if (ink.measureText(inner).width < 1.8 * r && r > 9) {
        const both = own && r >= 30;
        if (both) write(k, x, y - 9, 0, own, "strong");
        write(k, x, both ? y + 9 : y, 1.8 * r, inner, "");
        continue;
      }
      const wide = ink.measureText(name).width;
      if (own && ink.measureText(own).width < 1.7 * r) write(k, x, y, 0, own, "");
      const places = [[x, y + r + 10], [x, y - r - 10], [x + r + 5 + wide / 2, y], [x - r - 5 - wide / 2, y]];
      const place = places.find(([px, py]) =>
        free({ left: px - wide / 2, right: px + wide / 2, top: py - 7, bottom: py + 7 }, k));
      if (place) write(k, ...place, wide, name, "beside");
    }
    return made;
  }

  /** Return the text, cut so that it takes at most so many pixels. */
  function shortened(text, most) {
    if (ink.measureText(text).width <= most) return text;
    const letters = [...text];
    let size = Math.min(letters.length, Math.floor(most / 4));
    while (size > 0 && ink.measureText(`${letters.slice(0, size).join("")}…`).width > most) size--;
    return `${letters.slice(0, size).join("").trimEnd()}…`;
  }

  function choose(k) {
    chosen = k;
    const near = new Set([k]);
    for (const { a, b, node } of lines) {
      const mine = a === k || b === k;
      if (mine) near.add(a === k ? b : a);
      node.classList.toggle("lit", mine);
      node.classList.toggle("dim", k >= 0 && !mine);
    }
    shapes.forEach((spot, i) => {
      spot.classList.toggle("chosen", i === k);
      spot.classList.toggle("dim", k >= 0 && !near.has(i));
    });
    for (const text of byId("map").querySelectorAll("text")) {
      text.classList.toggle("dim", k >= 0 && !near.has(Number(text.dataset.of)));
    }
  }

  function look(target) {
    const spot = target instanceof Element ? target.closest(".spot") : null;
    const k = spot ? Number(spot.dataset.spot) : -1;
    if (k !== chosen) choose(k);
    if (spot) tell(spot.getBoundingClientRect(), sayOf(k));
    else byId("tip").hidden = true;
  }

  function stroll(event) {
    const spot = event.target.closest(".spot");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!spot || !step) return;
    const next = shapes[Number(spot.dataset.spot) + step];
    event.preventDefault();
    if (!next) return;
    spot.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus({ preventScroll: true });
  }

  // ---- the table

  function sorting() {
    const rows = [...byId("rows").children];
    const heads = [...byId("heads").children];
    const more = byId("more");
    let all = rows.length <= ROWS;
    const show = () => {
      [...byId("rows").children].forEach((row, i) => { row.hidden = !all && i >= ROWS; });
      more.hidden = all;
      more.textContent = `Show all ${rows.length}`;
    };
    more.addEventListener("click", () => { all = true; show(); });
    heads.slice(0, 4).forEach((head, column) => {
      const button = element("button", { type: "button" }, head.textContent);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const falling = now ? now === "ascending" : column > 0;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const value = (row) => Number(row.children[column].dataset.value);
        const order = rows.map((row, i) => [value(row), i, row]);
        order.sort((x, y) => (falling ? y[0] - x[0] : x[0] - y[0]) || x[1] - y[1]);
        byId("rows").replaceChildren(...order.map(([, , row]) => row));
        show();
      });
      head.replaceChildren(button);
    });
    for (const row of rows) {
      const m = Number(row.dataset.module);
      if (m < 0) continue;
      const chip = row.firstElementChild.firstElementChild;
      row.firstElementChild.append(element("button", { type: "button",
        "aria-label": `Open module ${number(m)} in the figure`,
        click: () => {
          open({ m });
          byId("nested").scrollIntoView();
          blockAt(state.row, state.column).focus({ preventScroll: true });
        } }, chip));
    }
    show();
  }

  // ---- wiring

  ink.font = `14px ${getComputedStyle(document.body).fontFamily}`;
  sorting();
  if (!(modules.flow[0] > 0)) { // a graph without links: there is no walk to draw
    for (const id of ["nested", "picture"]) {
      byId(id).hidden = true;
      document.querySelector(`header a[href="#${id}"]`).hidden = true;
    }
    return;
  }
  draw();
  paint();
  const icicle = byId("icicle");
  icicle.addEventListener("click", (event) => {
    const block = event.target.closest(".block");
    if (block) activate(drawn[block.dataset.row][block.dataset.column]);
  });
  icicle.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "touch") point(event.target);
  });
  icicle.addEventListener("pointerleave", () => point(null));
  icicle.addEventListener("focusin", (event) => {
    if (event.target.matches(":focus-visible")) point(event.target);
  });
  icicle.addEventListener("focusout", () => point(null));
  const map = byId("map");
  map.addEventListener("pointerover", (event) =>
    look(event.target.closest(".spot") ?? map.querySelector(".spot:focus-visible")));
  map.addEventListener("pointerleave", () => look(null));
  map.addEventListener("focusin", (event) => look(event.target));
  map.addEventListener("focusout", () => look(null));
  map.addEventListener("keydown", stroll);
  icicle.addEventListener("keydown", walk);
  byId("crumbs").addEventListener("keydown", (event) => { if (event.key === "Escape") back(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("tip").hidden) look(null);
  });

  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return; // a phone hides its address bar
    width = document.documentElement.clientWidth;
    draw();
    paint();
  });
  addEventListener("beforeprint", () => { draw(); paint(); });
})();
