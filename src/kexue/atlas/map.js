// The map of words: names and links above its points, and the gestures that move it. It draws what
// it is told and reports what is pointed at; the page decides what that means.
// `document.documentElement.dataset` tells its state: map ("webgl" or "canvas"), mapZoom, mapNames
// (how many are shown), mapWord (the row of the word chosen, or "") and mapStill ("false" in flight).

/**
 * Show the map.
 *
 * places: {x, y, size, text, tone}, arrays over all words, with x null for words without a place;
 *   size is the radius in pixels, tone the key of a colour; and frame {x: [from, to], y: [from, to]},
 *   what is seen at first.
 * names: [{key, text: [full, brief], x, y, depth, style, large}], communities at their centres,
 *   those that matter most first.
 * on: {hover(i), pick(i), isolate(key), moved(), near(i), lang, neutral}; i is -1 beside every
 *   point, near gives the most similar words, neutral is the tone that lies below.
 */
function wordMap(places, names, on) {
  const MOST = 80; // the deepest zoom
  const FEW = 3000; // points that a browser draws without WebGL
  const MARGIN = 36; // pixels around the whole
  const LABELS = 60; // words written at a time
  const SPARSE = 400; // a map of fewer words has them written from the start
  const DEPTHS = [1, 1.6, 2.8, 5, 9]; // zoom from which the names of a level may appear
  const box = byId("chart");
  const canvas = byId("points");
  const pen = canvas.getContext("2d");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const report = document.documentElement.dataset;
  const all = places.x.map((_, i) => i).filter((i) => places.x[i] !== null);
  const wide = extent(places.x);
  const high = extent(places.y);
  const { x: [left, right], y: [top, bottom] } = places.frame;
  const view = { x: (left + right) / 2, y: (top + bottom) / 2, zoom: 1 };
  const look = { paper: "", ink: "", font: "", tones: {}, chosen: null, isolated: null };
  const buttons = new Map(); // of names, by key
  const widths = new Map(); // of texts, in pixels
  let byUse = all.slice().sort((a, b) => places.size[b] - places.size[a] || a - b);
  const size = { w: 0, h: 0, fit: 1, least: 1 }; // pixels; per step of the grid at zoom 1; zoom of all
  let flight = 0;
  let frame = 0;
  let word = -1; // the word whose links are drawn
  let pointed = -1;

  function extent(column) {
    return column.reduce((most, value) => Math.max(most, value ?? 0), 1);
  }

  // ---- the points

  const painter = webglPoints(canvas, () => paint()) ?? penPoints(canvas);
  report.map = painter.kind;
  if (painter.kind === "canvas") byUse = byUse.slice(0, FEW);

  function opacity(i) {
    if (look.chosen && !look.chosen(i)) return 0.09;
    return places.tone[i] === on.neutral && !look.chosen ? 0.5 : 0.9;
  }

  function grown() {
    return Math.min(2.6, view.zoom ** 0.3) * Math.max(0.6, Math.min(1, size.w / 900));
  }

  function spot(i) {
    const scale = size.fit * view.zoom;
    return {
      x: (places.x[i] - view.x) * scale + size.w / 2,
      y: (places.y[i] - view.y) * scale + size.h / 2,
      r: places.size[i] * grown(),
    };
  }

  // ---- names, links and rings

  function measured(text, font) {
    const key = font + text;
    if (!widths.has(key)) {
      pen.font = font;
      widths.set(key, pen.measureText(text).width);
    }
    return widths.get(key);
  }

  /** Keep boxes that touch no other; whoever asks first stands. */
  function crowd() {
    const taken = [];
    return (left, top, right, bottom) => {
      for (const b of taken) {
        if (left < b[2] && right > b[0] && top < b[3] && bottom > b[1]) return false;
      }
      taken.push([left, top, right, bottom]);
      return true;
    };
  }

  function placeNames(room) {
    const shown = new Set();
    const brief = size.w < 600 ? 1 : 0;
    for (const name of names) { // the upper level first, the larger first
      const own = name.key === look.isolated;
      const near = view.zoom >= (DEPTHS[name.depth - 1] ?? 12);
      if (!own && (!near || (look.isolated && !name.key.startsWith(`${look.isolated}.`)))) continue;
      const { x, y } = centre(name);
      if (x < 0 || y < 8 || x > size.w || y > size.h - 8) continue;
      const high = name.large ? 16 : 14;
      const half = measured(name.text[brief], `600 ${high}px ${look.font}`) / 2 + 5;
      // a name at the edge moves inwards rather than being cut
      const middle = Math.max(half + 2, Math.min(size.w - half - 2, x));
      const dy = [0, 24, -24].find((shift) =>
        room(middle - half, y + shift - 13, middle + half, y + shift + 13));
      if (dy === undefined) continue;
      shown.add(name.key);
      const button = buttons.get(name.key) ?? made(name);
      button.hidden = false;
      if (button.textContent !== name.text[brief]) button.textContent = name.text[brief];
      const to = `${middle.toFixed(1)}px, ${(y + dy).toFixed(1)}px`;
      button.style.transform = `translate(${to}) translate(-50%, -50%)`;
    }
    for (const [key, button] of buttons) if (!shown.has(key)) button.hidden = true;
    return shown;
  }

  function centre(name) {
    const scale = size.fit * view.zoom;
    return { x: (name.x - view.x) * scale + size.w / 2, y: (name.y - view.y) * scale + size.h / 2 };
  }

  function made(name) {
    const button = element("button", { type: "button", tabindex: -1, lang: on.lang, dir: "auto",
      class: `place ${name.large ? "large" : ""} ${name.style}`,
      click: (event) => {
        event.stopPropagation();
        if (!drag.moved) on.isolate(name.key);
      } });
    buttons.set(name.key, button);
    byId("names").append(button);
    return button;
  }

  function write(text, x, y, font, colour) {
    pen.font = font;
    pen.lineJoin = "round";
    pen.lineWidth = 4;
    pen.strokeStyle = look.paper;
    pen.strokeText(text, x, y);
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  }

  /** Write words beside their points, the most frequent first, as long as there is room. */
  function placeWords(room) {
    if (view.zoom < 2 && !look.chosen && all.length > SPARSE) return;
    const font = `13px ${look.font}`;
    const most = view.zoom < 2 ? 24 : LABELS;
    let written = 0;
    let tried = 0;
    for (const i of byUse) {
      if (look.chosen && !look.chosen(i)) continue;
      const { x, y, r } = spot(i);
      if (x < 0 || y < 8 || x > size.w || y > size.h - 8) continue;
      if (written >= most || ++tried > 6 * most) break;
      const width = measured(places.text[i], font);
      if (x + r + 3 + width > size.w) continue;
      if (!room(x + r + 1, y - 9, x + r + 6 + width, y + 9)) continue;
      write(places.text[i], x + r + 3, y, font, look.ink);
      written++;
    }
  }

  function ring(i, width) {
    const { x, y, r } = spot(i);
    pen.beginPath();
    pen.arc(x, y, r + 2, 0, 2 * Math.PI);
    pen.lineWidth = width;
    pen.strokeStyle = look.ink;
    pen.stroke();
  }

  /** Draw lines from the chosen word to its nearest, and write all of them. */
  function placeLinks(room) {
    const here = spot(word);
    const near = on.near(word).filter((j) => places.x[j] !== null);
    pen.strokeStyle = look.ink;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.55;
    for (const j of near) {
      const there = spot(j);
      pen.beginPath();
      pen.moveTo(here.x, here.y);
      pen.lineTo(there.x, there.y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    for (const j of near) ring(j, 1);
    ring(word, 2.5);
    [word, ...near].forEach((i, k) => {
      const font = k ? `14px ${look.font}` : `600 16px ${look.font}`;
      const { x, y, r } = spot(i);
      const width = measured(places.text[i], font);
      const left = x + r + 6 + width > size.w ? x - r - 6 - width : x + r + 5;
      if (room(left - 2, y - 9, left + width + 2, y + 9)) write(places.text[i], left, y, font, look.ink);
    });
  }

  function draw() {
    frame = 0;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    painter.draw({ x: view.x, y: view.y, scale: size.fit * view.zoom, grow: grown(), ratio });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.textBaseline = "middle";
    const room = crowd();
    const tools = byId("tools");
    room(tools.offsetLeft - 4, 0, size.w, tools.offsetTop + tools.offsetHeight + 4);
    if (word >= 0) placeLinks(room);
    const shown = placeNames(room);
    placeWords(room);
    if (pointed >= 0) ring(pointed, 2);
    report.mapZoom = view.zoom.toFixed(2);
    report.mapWord = word < 0 ? "" : String(word);
    report.mapStill = String(flight === 0);
    report.mapNames = String(shown.size);
    byId("closer").disabled = view.zoom >= MOST;
    byId("farther").disabled = view.zoom <= size.least;
    on.moved();
  }

  function request() {
    frame ||= requestAnimationFrame(draw);
  }

  /** Draw anew after colours, choice or size have changed. */
  function paint() {
    size.w = box.clientWidth;
    size.h = box.clientHeight;
    const fit = (across, down) => Math.min((size.w - 2 * MARGIN) / across, (size.h - 2 * MARGIN) / down);
    size.fit = fit(Math.max(right - left, 1), Math.max(bottom - top, 1));
    size.least = Math.min(1, fit(wide, high) / size.fit);
    const ratio = Math.min(devicePixelRatio || 1, 2);
    canvas.width = Math.round(size.w * ratio);
    canvas.height = Math.round(size.h * ratio);
    widths.clear();
    const rank = (i) => (look.chosen ? look.chosen(i) : places.tone[i] !== on.neutral) ? 1 : 0;
    const order = byUse.slice().sort((a, b) => rank(a) - rank(b)); // stable: small ones above large
    painter.load(order.map((i) => ({ x: places.x[i], y: places.y[i], radius: places.size[i],
      colour: look.tones[places.tone[i]], opacity: opacity(i) })), look.paper);
    draw();
  }

  // ---- moving

  function clamp() {
    view.zoom = Math.max(size.least, Math.min(MOST, view.zoom));
    if (view.zoom === size.least && size.least < 1) Object.assign(view, { x: wide / 2, y: high / 2 });
    view.x = Math.max(0, Math.min(wide, view.x));
    view.y = Math.max(0, Math.min(high, view.y));
  }

  function zoomAt(factor, x = size.w / 2, y = size.h / 2) {
    const before = size.fit * view.zoom;
    view.zoom = Math.max(size.least, Math.min(MOST, view.zoom * factor));
    const after = size.fit * view.zoom;
    view.x += (x - size.w / 2) * (1 / before - 1 / after);
    view.y += (y - size.h / 2) * (1 / before - 1 / after);
    land();
    clamp();
    request();
  }

  function pan(dx, dy) {
    view.x -= dx / (size.fit * view.zoom);
    view.y -= dy / (size.fit * view.zoom);
    land();
    clamp();
    request();
  }

  function land() {
    cancelAnimationFrame(flight);
    flight = 0;
  }

  /** Go to a view; the way is straight on the screen, fast in the middle. */
  function fly(to) {
    land();
    const from = { ...view };
    const zooms = Math.abs(Math.log(to.zoom / from.zoom)) > 0.01;
    const start = performance.now();
    const step = (now) => {
      const t = still.matches ? 1 : Math.min(1, (now - start) / 700);
      const eased = t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2;
      view.zoom = from.zoom * (to.zoom / from.zoom) ** eased;
      const part = zooms ? (1 / view.zoom - 1 / from.zoom) / (1 / to.zoom - 1 / from.zoom) : eased;
      view.x = from.x + (to.x - from.x) * part;
      view.y = from.y + (to.y - from.y) * part;
      flight = t < 1 ? requestAnimationFrame(step) : 0;
      if (t === 1) Object.assign(view, to);
      clamp();
      draw();
    };
    if (still.matches) step(start);
    else {
      flight = requestAnimationFrame(step);
      draw();
    }
  }

  /** Fly to word i, as close as lets its nearest words be seen; aside: its way off the middle, in sizes. */
  function flyTo(i, aside = { x: 0, y: 0 }) {
    const far = on.near(i).filter((j) => places.x[j] !== null)
      .map((j) => Math.hypot(places.x[j] - places.x[i], places.y[j] - places.y[i]))
      .sort((a, b) => a - b);
    const reach = far.length ? far[Math.floor(0.7 * (far.length - 1))] : 0;
    const fits = reach ? (0.3 * Math.min(size.w, size.h)) / (reach * size.fit) : 12;
    const zoom = Math.max(3, Math.min(24, fits));
    const scale = size.fit * zoom;
    fly({ x: places.x[i] + (aside.x * size.w) / scale, y: places.y[i] + (aside.y * size.h) / scale, zoom });
  }

  function whole() {
    fly({ x: wide / 2, y: high / 2, zoom: size.least });
  }

  // ---- pointing

  function at(x, y, slack) {
    let best = -1;
    let least = slack;
    for (const i of byUse) {
      if (look.chosen && !look.chosen(i)) continue;
      const s = spot(i);
      const distance = Math.hypot(s.x - x, s.y - y) - s.r;
      // among points that overlap the small one, which lies on top
      const cost = distance <= 0 ? s.r / 1000 - 1 : distance;
      if (cost < least) [best, least] = [i, cost];
    }
    return best;
  }

  function local(event) {
    const frame = box.getBoundingClientRect();
    return [event.clientX - frame.left - box.clientLeft, event.clientY - frame.top - box.clientTop];
  }

  const drag = { id: null, x: 0, y: 0, moved: false };
  let awake = false; // the pointer has moved here since the page scrolled
  let zoomed = 0; // when the wheel last zoomed
  let pinch = null;

  // by the path of the event: what was clicked in the card may be gone by now
  const onChart = (event) => !event.composedPath().some((node) => node.id === "card" || node.id === "tools");

  box.addEventListener("pointerdown", (event) => {
    drag.moved = false;
    if (event.pointerType === "touch" || event.button || !onChart(event)) return;
    Object.assign(drag, { id: event.pointerId, x: event.clientX, y: event.clientY });
    awake = true;
  });
  box.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    awake = true;
    if (drag.id !== null) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) box.setPointerCapture(drag.id);
      drag.moved = true;
      Object.assign(drag, { x: event.clientX, y: event.clientY });
      box.classList.add("held");
      pan(dx, dy);
    } else hover(onChart(event) ? at(...local(event), 6) : -1);
  });
  const release = () => {
    drag.id = null;
    box.classList.remove("held");
  };
  box.addEventListener("pointerup", release);
  box.addEventListener("pointercancel", release);
  box.addEventListener("pointerleave", (event) => {
    awake = false;
    if (event.pointerType !== "touch") hover(-1);
  });
  addEventListener("scroll", () => (awake = false), { passive: true });

  function hover(i) {
    box.classList.toggle("over", i >= 0);
    if (i === pointed) return;
    pointed = i;
    request();
    on.hover(i);
  }

  box.addEventListener("click", (event) => {
    if (!drag.moved && onChart(event)) on.pick(at(...local(event), event.pointerType === "touch" ? 16 : 6));
  });
  box.addEventListener("dblclick", (event) => {
    if (onChart(event)) whole();
  });
  box.addEventListener("wheel", (event) => {
    // a page that is being scrolled goes on under the pointer; a pinch of the trackpad is meant
    if (!event.ctrlKey && !awake) return;
    const recent = event.timeStamp - zoomed < 300;
    if (view.zoom <= size.least && event.deltaY > 0 && !event.ctrlKey && !recent) return;
    event.preventDefault();
    zoomed = event.timeStamp;
    const unit = [1, 20, 400][event.deltaMode] * (event.ctrlKey ? 6 : 1);
    zoomAt(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * unit)) * 0.0018), ...local(event));
  }, { passive: false });

  const middle = (touches) => {
    const [a, b] = touches;
    const [x, y] = local({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
    return { x, y, span: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) };
  };
  box.addEventListener("touchstart", (event) => {
    pinch = event.touches.length === 2 ? middle(event.touches) : null;
    if (pinch) box.classList.remove("lone");
  }, { passive: true });
  box.addEventListener("touchmove", (event) => {
    if (!pinch) {
      box.classList.toggle("lone", onChart(event)); // one finger scrolls the page; say what two do
      return;
    }
    if (!event.cancelable) return; // the browser scrolls already
    event.preventDefault();
    const now = middle(event.touches);
    pan(now.x - pinch.x, now.y - pinch.y);
    zoomAt(now.span / Math.max(pinch.span, 1), now.x, now.y);
    pinch = now;
    drag.moved = true; // no click follows
  }, { passive: false });
  for (const end of ["touchend", "touchcancel"]) {
    box.addEventListener(end, () => {
      pinch = null;
      box.classList.remove("lone");
    });
  }

  box.addEventListener("keydown", (event) => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 0.15 * Math.min(size.w, size.h);
    const act = {
      ArrowLeft: () => pan(step, 0), ArrowRight: () => pan(-step, 0),
      ArrowUp: () => pan(0, step), ArrowDown: () => pan(0, -step),
      "+": () => zoomAt(1.5), "=": () => zoomAt(1.5), "-": () => zoomAt(1 / 1.5), 0: whole,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId("closer").addEventListener("click", () => zoomAt(1.6));
  byId("farther").addEventListener("click", () => zoomAt(1 / 1.6));
  byId("whole").addEventListener("click", whole);
  new ResizeObserver(() => {
    if (box.clientWidth && (box.clientWidth !== size.w || box.clientHeight !== size.h)) paint();
  }).observe(box);

  return {
    few: painter.kind === "canvas" && all.length > FEW ? FEW : 0,
    flyTo,
    spot,
    size,
    /** Take over colours and the choice: {paper, ink, font, tones, chosen, isolated}. */
    dress(given) {
      Object.assign(look, given);
      for (const [key, button] of buttons) button.classList.toggle("alone", key === look.isolated);
      paint();
    },
    /** Draw the links of word i; -1 draws none. */
    link(i) {
      word = i;
      request();
    },
  };
}
