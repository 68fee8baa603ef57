// Many points on a canvas, by WebGL or without it. Both take `load(points, paper)`, points being
// [{x, y, radius, colour: "#rrggbb", opacity}] with the last on top, and `draw(view)`, view being
// {x, y, scale, grow, ratio}: the place in the middle of the canvas, pixels per step of the places,
// a factor of all radii, and device pixels per pixel.

/** Draw on a canvas of its own and copy, so that what lies above is one picture; null without WebGL. */
function webglPoints(canvas, again) {
  const sheet = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  const gl = sheet.getContext("webgl", { antialias: false });
  if (!gl) return null;
  let uniform, attributes;
  let count = 0;

  function shader(kind, source) {
    const made = gl.createShader(kind);
    gl.shaderSource(made, source);
    gl.compileShader(made);
    return made;
  }

  function start() {
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl.VERTEX_SHADER, `
      attribute vec2 place; attribute float radius; attribute vec4 look;
      uniform vec3 view; uniform vec2 size; uniform float grow; uniform float most;
      varying vec4 colour; varying float r;
      void main() {
        vec2 p = (place - view.xy) * view.z / size * 2.0;
        gl_Position = vec4(p.x, -p.y, 0.0, 1.0);
        r = min(radius * grow, most);
        gl_PointSize = 2.0 * r + 2.0;
        colour = look;
      }`));
    gl.attachShader(program, shader(gl.FRAGMENT_SHADER, `
      precision mediump float;
      varying vec4 colour; varying float r;
      uniform vec3 paper; uniform float fine;
      void main() {
        float rim = clamp((r - 2.5 * fine) * 0.5, 0.0, fine); // parts the larger points
        float d = length(gl_PointCoord - 0.5) * (2.0 * r + 2.0);
        float cover = clamp(r + 0.5 - d, 0.0, 1.0);
        float inner = clamp(r + 0.5 - rim - d, 0.0, 1.0);
        float a = cover * colour.a;
        gl_FragColor = vec4(mix(paper, colour.rgb, inner) * a, a);
      }`));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    uniform = (name) => gl.getUniformLocation(program, name);
    attributes = ["place", "radius", "look"].map((name) => gl.getAttribLocation(program, name));
    gl.uniform1f(uniform("most"), gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)[1] / 2 - 1);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    return true;
  }

  function channels(hex) {
    return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  }

  /** Send place, radius and colour of each point, sixteen bytes. */
  function load(points, paper) {
    sheet.width = canvas.width;
    sheet.height = canvas.height;
    count = points.length;
    const bytes = new ArrayBuffer(16 * count);
    const floats = new Float32Array(bytes);
    const colours = new Uint8Array(bytes);
    points.forEach(({ x, y, radius, colour, opacity }, k) => {
      floats.set([x, y, radius], 4 * k);
      colours.set([...channels(colour), 255 * opacity], 16 * k + 12);
    });
    gl.bufferData(gl.ARRAY_BUFFER, bytes, gl.STATIC_DRAW);
    const [place, radius, colour] = attributes;
    for (const one of attributes) gl.enableVertexAttribArray(one);
    gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 16, 0);
    gl.vertexAttribPointer(radius, 1, gl.FLOAT, false, 16, 8);
    gl.vertexAttribPointer(colour, 4, gl.UNSIGNED_BYTE, true, 16, 12);
    gl.uniform3fv(uniform("paper"), channels(paper).map((x) => x / 255));
  }

  function draw({ x, y, scale, grow, ratio }) {
    gl.viewport(0, 0, sheet.width, sheet.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform3f(uniform("view"), x, y, scale * ratio);
    gl.uniform2f(uniform("size"), sheet.width, sheet.height);
    gl.uniform1f(uniform("grow"), grow * ratio);
    gl.uniform1f(uniform("fine"), ratio);
    gl.drawArrays(gl.POINTS, 0, count);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(sheet, 0, 0);
  }

  if (!start()) return null;
  sheet.addEventListener("webglcontextlost", (event) => event.preventDefault());
  sheet.addEventListener("webglcontextrestored", () => {
    start();
    again();
  });
  return { kind: "webgl", load, draw };
}

/** Draw the points one by one. */
function penPoints(canvas) {
  const pen = canvas.getContext("2d");
  let points = [];
  let paper = "";

  function load(given, ground) {
    [points, paper] = [given, ground];
  }

  function draw(view) {
    pen.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    const [w, h] = [canvas.width / view.ratio, canvas.height / view.ratio];
    pen.lineWidth = 0.75;
    pen.strokeStyle = paper;
    for (const { x, y, radius, colour, opacity } of points) {
      const r = radius * view.grow;
      const across = (x - view.x) * view.scale + w / 2;
      const down = (y - view.y) * view.scale + h / 2;
      if (across < -r || down < -r || across > w + r || down > h + r) continue;
      pen.globalAlpha = opacity;
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(across, down, r, 0, 2 * Math.PI);
      pen.fill();
      if (r > 3) pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  return { kind: "canvas", load, draw };
}

