// Draws points that can be hovered, clicked, joined by a path, and reached by the keyboard.
// `props.value` is what `points()` in drawing.py returns. A click triggers `select` with `index`,
// `x` and `y`; a drag from one point to another triggers it with `start` and `end`.
const canvas = element.querySelector("canvas");
const tip = element.querySelector(".tip");
const words = element.querySelector(".words");
const legend = element.querySelector(".legend");
const pen = canvas.getContext("2d");
const COLOURS = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#d4a800", "#b07aa1",
  "#ff7f9c", "#9c755f", "#8a8f98"];
const NEAR = 14;  // Pixels within which a point is meant.
let data = null, sprite = null, current = -1, from = -1, pressed = null, pointer = null;

const spread = (values, log) => {
  const scale = log ? Math.log10 : Number;
  const low = Math.min(...values.map(scale)), high = Math.max(...values.map(scale));
  const edge = 0.06 * (high - low || 1);
  return { low: low - edge, high: high + edge, scale, log };
};
const box = () => {
  const axes = data.axes.length > 0;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  return { left: axes ? 58 : 6, right: width - 10, top: 10, bottom: height - (axes ? 42 : 6) };
};
const place = (at, range, start, end) =>
  start + (range.scale(at) - range.low) / (range.high - range.low) * (end - start);
const value = (at, range, start, end) => {
  const raw = range.low + (at - start) / (end - start) * (range.high - range.low);
  return range.log ? 10 ** raw : raw;
};
const pixel = index => {
  const b = box();
  return [place(data.x[index], data.rangeX, b.left, b.right),
    place(data.y[index], data.rangeY, b.bottom, b.top)];
};
const nearest = (x, y) => {
  let best = -1, least = Infinity;
  for (let i = 0; i < data.x.length; i++) {
    const [a, b] = pixel(i), distance = Math.hypot(a - x, b - y);
    if (distance < least) [best, least] = [i, distance];
  }
  return [best, least];
};
const ticks = range => {
  const span = range.high - range.low;
  if (range.log) {
    const steps = span > 2 ? [1] : [1, 2, 5], found = [];
    for (let power = Math.floor(range.low); power <= range.high; power++) {
      for (const step of steps) {
        const at = step * 10 ** power;
        if (Math.log10(at) >= range.low && Math.log10(at) <= range.high) found.push(at);
      }
    }
    return found;
  }
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = power * [1, 2, 5, 10].find(each => each * power >= span / 5);
  const found = [];
  for (let at = Math.ceil(range.low / step) * step; at <= range.high; at += step) {
    found.push(Number(at.toPrecision(10)));
  }
  return found;
};
const short = number => number >= 1e6 ? `${number / 1e6}M`
  : number >= 1e3 ? `${number / 1e3}k` : String(number);

function axes(ink, faint) {
  const b = box();
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.textAlign = "center";
  for (const at of ticks(data.rangeX)) {
    const x = place(at, data.rangeX, b.left, b.right);
    pen.strokeStyle = faint;
    pen.beginPath(); pen.moveTo(x, b.top); pen.lineTo(x, b.bottom); pen.stroke();
    pen.fillStyle = ink;
    pen.fillText(short(at), x, b.bottom + 16);
  }
  pen.fillText(data.axes[0], (b.left + b.right) / 2, b.bottom + 35, b.right - b.left);
  pen.textAlign = "right";
  for (const at of ticks(data.rangeY)) {
    const y = place(at, data.rangeY, b.bottom, b.top);
    pen.strokeStyle = faint;
    pen.beginPath(); pen.moveTo(b.left, y); pen.lineTo(b.right, y); pen.stroke();
    pen.fillStyle = ink;
    pen.fillText(short(at), b.left - 6, y + 4);
  }
  pen.save();
  pen.translate(14, (b.top + b.bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(data.axes[1], 0, 0, b.bottom - b.top);
  pen.restore();
}

function draw() {
  if (!data || !canvas.clientWidth) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(element);
  const ink = style.color, faint = style.getPropertyValue("--border-color-primary") || "#8884";
  if (data.axes.length) axes(ink, faint);
  const radius = data.x.length > 200 ? 3 : 6;
  for (let i = 0; i < data.x.length; i++) {
    const [x, y] = pixel(i);
    pen.globalAlpha = 0.8;
    pen.fillStyle = COLOURS[data.group[i] % COLOURS.length];
    pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fill();
  }
  pen.globalAlpha = 1;
  for (const index of [current, from]) {
    if (index < 0) continue;
    const [x, y] = pixel(index);
    pen.strokeStyle = ink; pen.lineWidth = 2;
    pen.beginPath(); pen.arc(x, y, radius + 4, 0, 7); pen.stroke();
  }
  if (from >= 0 && (pointer || current >= 0)) {
    const end = pointer || pixel(current);
    pen.setLineDash([5, 4]);
    pen.beginPath(); pen.moveTo(...pixel(from)); pen.lineTo(...end); pen.stroke();
    pen.setLineDash([]);
  }
}

function show(index) {
  current = index;
  tip.hidden = index < 0;
  if (index >= 0) {
    const [x, y] = pixel(index), b = box();
    tip.replaceChildren();
    if (sprite) {
      const [width, height] = data.tile, column = index % data.columns;
      const picture = document.createElement("canvas");
      [picture.width, picture.height] = [width, height];
      const row = Math.floor(index / data.columns);
      picture.getContext("2d").drawImage(
        sprite, column * width, row * height, width, height, 0, 0, width, height);
      tip.append(picture);
    }
    tip.append(data.label[index]);
    tip.style.left = `${x > b.right / 2 ? x - tip.offsetWidth - 14 : x + 14}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 20, b.bottom - tip.offsetHeight))}px`;
    words.textContent = data.label[index];
  }
  draw();
}

const at = event => {
  const frame = canvas.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
};
const choose = (index, x, y) => trigger("select", { index, x, y });
const join = (start, end) => trigger("select", { start, end });

canvas.addEventListener("pointermove", event => {
  if (!data) return;
  pointer = from >= 0 && pressed ? at(event) : null;
  const [index, distance] = nearest(...at(event));
  show(distance < NEAR ? index : -1);
});
canvas.addEventListener("pointerleave", () => { if (!pressed) show(-1); });
canvas.addEventListener("pointerdown", event => {
  if (!data) return;
  pressed = at(event);
  canvas.setPointerCapture(event.pointerId);
  const [index, distance] = nearest(...pressed);
  from = data.paths && distance < NEAR ? index : -1;
});
canvas.addEventListener("pointerup", event => {
  if (!pressed) return;
  const [x, y] = at(event), moved = Math.hypot(x - pressed[0], y - pressed[1]);
  const [index, distance] = nearest(x, y), start = from, b = box();
  pressed = pointer = null; from = -1;
  if (start >= 0 && moved > NEAR && index !== start) join(start, index);
  else if (distance < NEAR) choose(index, data.x[index], data.y[index]);
  else if (data.paths) {
    choose(index, value(x, data.rangeX, b.left, b.right), value(y, data.rangeY, b.bottom, b.top));
  }
  draw();
});
canvas.addEventListener("keydown", event => {
  if (!data) return;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const way = steps[event.key];
  if (way) {
    const here = current < 0 ? null : pixel(current);
    let best = here ? current : 0, least = Infinity;
    for (let i = 0; here && i < data.x.length; i++) {
      const [x, y] = pixel(i), along = (x - here[0]) * way[0] + (y - here[1]) * way[1];
      const across = Math.abs((x - here[0]) * way[1]) + Math.abs((y - here[1]) * way[0]);
      if (along > 0.5 && along + 2 * across < least) [best, least] = [i, along + 2 * across];
    }
    show(best);
  } else if (event.key === " " && data.paths && current >= 0) {
    from = from === current ? -1 : current;
    draw();
  } else if (event.key === "Enter" && current >= 0) {
    if (from >= 0 && from !== current) join(from, current);
    else choose(current, data.x[current], data.y[current]);
    from = -1;
    draw();
  } else if (event.key === "Escape") { from = -1; show(-1); } else return;
  event.preventDefault();
});

function read() {
  data = props.value && props.value.x ? { ...props.value } : null;
  sprite = null; current = from = -1; pressed = pointer = null; tip.hidden = true;
  legend.replaceChildren();
  if (!data) return;
  data.rangeX = spread(data.x, data.log[0]);
  data.rangeY = spread(data.y, data.log[1]);
  data.groups.forEach((name, i) => {
    const item = document.createElement("span"), dot = document.createElement("i");
    dot.style.background = COLOURS[i % COLOURS.length];
    item.append(dot, name);
    legend.append(item);
  });
  if (data.sprite) {
    const picture = new Image();
    picture.onload = () => { sprite = picture; };
    picture.src = data.sprite;
  }
  draw();
}
watch("value", read);
new ResizeObserver(draw).observe(canvas);
read();
