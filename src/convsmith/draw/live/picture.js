// The drawing of a stage: where everything lies, and what a selection lights up. What rests is drawn
// once; a selection only sets the paths above it, so that a hover costs the same on any map.

const MOST = 54, LEAST = 4, LEGIBLE = 15, BADGE = 32, GAP = 24, KERNEL = 0.8, BETWEEN = 0.7;
const LINE = 15, MANY = 8, LINKS = 2000, BADGES = 500;

const number = (value) => {
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  if (!Number.isFinite(value)) return "?";
  const size = Math.abs(value);
  let text = Number.isInteger(value) && size < 1e7 ? String(size)
    : size >= 1e5 || size < 1e-3 ? size.toExponential(1).replace("e+", "e")
    : String(Number(size.toPrecision(size >= 1000 ? 5 : 3)));
  return value < 0 ? "−" + text : text;
};
// How many: beyond a billion, to two digits.
const counted = (value) => {
  // The browser's own way takes longer the first time than all else on the page.
  if (value < 1e9) return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const [digits, power] = value.toExponential(1).split("e+");
  return `${digits}·10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
};
// A box that holds nothing yet: left, top, right, bottom.
const nowhere = () => [Infinity, Infinity, -Infinity, -Infinity];
const times = (sizes) => sizes.join("×");

// As large as a cell has room for.
const fontSize = (side, text) => {
  const size = min(side * 0.4, 18, side * 1.3 / max(1, text.length));
  return tenths(size);
};

class Picture {
  constructor(svg, stage, say) {
    Object.assign(this, { svg, stage, say });
  }

  // Names of maps and layers, in the page's language.
  mapName(map) {
    const last = this.stage.maps.length - 1;
    return map === 0 ? this.say("panel.the_input") : map === last ? this.say("panel.the_output")
      : this.say("stage.map", { number: map });
  }

  shape(map) {
    const { channels, size } = this.stage.maps[map];
    return times([channels, ...size.slice(3 - this.stage.dims)]);
  }

  facts(number) {
    const layer = this.stage.layers[number], plain = this.stage.data.layers[number];
    const each = (sizes) => new Set(sizes).size > 1 ? times(sizes) : sizes[0];
    const lines = [this.say("title." + plain.name)];
    if (plain.path) lines.push(plain.path.replace(/[<&]/g, "·"));
    lines.push(this.say(layer.pool ? "fact.window" : "fact.kernel",
      { size: times(plain.kernel_size) }));
    if (plain.stride.some((n) => n !== 1)) {
      lines.push(this.say("fact.stride", { size: each(plain.stride) }));
    }
    if (plain.dilation.some((n) => n !== 1)) {
      lines.push(this.say("fact.dilation", { size: each(plain.dilation) }));
    }
    if (plain.padding.flat().some(Boolean)) {
      const alike = plain.padding.every(([low, high]) => low === high);
      const [left, right] = plain.padding.at(-1), [top, bottom] = plain.padding.at(-2) ?? [];
      if (alike) {
        lines.push(this.say("fact.padding", { size: each(plain.padding.map(([low]) => low)) }));
      } else if (plain.padding.length < 3) {
        lines.push(this.say("fact.sides" + plain.padding.length, { left, right, top, bottom }));
      } else {
        lines.push(this.say("fact.padding",
          { size: plain.padding.map((pair) => pair.join("+")).join(", ") }));
      }
      if ((plain.padding_mode ?? "zeros") !== "zeros") {
        lines.push(this.say("fact." + plain.padding_mode));
      }
    }
    if (!layer.pool && layer.groups > 1) {
      lines.push(this.say("fact.groups", { count: layer.groups }));
    }
    if (plain.output_padding?.some(Boolean)) {
      lines.push(this.say("fact.output_padding", { size: each(plain.output_padding) }));
    }
    if (plain.activation) lines.push(plain.activation);
    return lines;
  }

  // How a map's planes lie, in cells: channels below one another, or side by side where maps are
  // below one another, and in several columns or rows where they are many; the slices of three
  // axes side by side.
  planes(map, upright, many, width) {
    const { channels, size: [depth, rows, columns] } = this.stage.maps[map];
    const next = this.stage.layers[map];
    const padded = next && next.kind !== "transposed" && !many;
    const pads = padded ? next.padding : [[0, 0], [0, 0], [0, 0]];
    const wide = columns + pads[2][0] + pads[2][1], high = rows + pads[1][0] + pads[1][1];
    const fit = max(1, floor((width < 600 ? 0.9 : 2) * this.deep / (wide + BETWEEN)));
    const across = depth > 1 || this.stage.dims === 1 ? 1 : min(channels, upright ? fit
      : ceil(channels * (high + BETWEEN) / this.deep));
    const down = ceil(channels / across);
    return {
      pads, wide, high, across, down,
      width: across * depth * (wide + BETWEEN) - BETWEEN, height: down * (high + BETWEEN) - BETWEEN,
    };
  }

  slices(number) {
    const layer = this.stage.layers[number];
    const [depth, rows, columns] = layer.kernel_size;
    const across = ceil(layer.ins_of * (rows + BETWEEN) / 16);
    const down = ceil(layer.ins_of / across);
    return {
      across, width: across * depth * (columns + BETWEEN) - BETWEEN,
      height: down * (rows + BETWEEN) - BETWEEN,
    };
  }

  // Whether kernels are drawn at a side of cells, and how wide and high a layer's part is.
  part(number, side, lines, above) {
    const layer = this.stage.layers[number], small = side * KERNEL;
    const shown = !layer.pool && small >= 13 && !above;
    const { width, height } = shown ? this.slices(number) : { width: 0, height: 0 };
    const text = max(...lines.map((line) => textWidth(line, 11.5)));
    return { shown, small, text, width: max(width * small, text), kernel: width * small,
      height: height * small };
  }

  measure(side, upright, width, height) {
    const { stage } = this, count = stage.maps.length, many = count > MANY + 1;
    const maps = stage.maps.map((_, map) => this.planes(map, upright, many, width));
    // Below one another, the facts have the width of a column at the left.
    // A row of one axis has them above it where there is no room for that.
    const above = upright && stage.dims === 1 && width < 600 && !many;
    const room = !upright ? "beside" : above ? width : width < 600 ? 96
      : stage.dims === 1 ? 190 : 130;
    const facts = this.filled[room] ??= this.said.map((lines) => many ? [] : upright
      ? filled(lines, room) : lines.flatMap((line) => filled([line], 105)));
    const parts = stage.layers.map((_, index) => many
      ? { shown: false, width: 0, height: 0, text: 0 } : this.part(index, side, facts[index], above));
    if (!upright) {
      const labels = many ? LINE : max(2, ...facts.map((lines) => lines.length)) * LINE + 6;
      const names = maps.map((plane, map) => many ? plane.width * side
        : max(plane.width * side, textWidth(this.shape(map), 12)));
      const gap = many ? GAP / 2 : GAP;
      return {
        side, upright, maps, parts, facts, many, names, labels, gap,
        width: names.reduce((a, b) => a + b, 0)
          + parts.reduce((a, part) => a + part.width + (many ? gap : 2 * gap), 0),
        height: labels + max(...maps.map((plane) => plane.height * side),
          ...parts.map((part) => part.height)),
      };
    }
    const gutter = above ? 0 : many ? 30 : max(room, ...parts.map((part) => part.width)) + 16;
    const total = maps.reduce((all, plane) => all + plane.height * side, 0);
    const gap = many ? max(4, min(24, (height - 8 - total) / (count - 1)))
      : stage.dims === 1 ? 34 : 20;
    const lefts = maps.map((_, map) => many ? 0 : above ? LINE * (1 + (facts[map]?.length ?? 0))
      : 2 * LINE + (parts[map] ? parts[map].height + facts[map].length * LINE + 14 : 0));
    const rows = maps.map((plane, map) => above ? lefts[map] + plane.height * side
      : max(plane.height * side, stage.dims === 1 ? lefts[map] - gap : lefts[map]));
    return {
      side, upright, maps, parts, facts, many, gutter, gap, rows, lefts, above,
      width: gutter + max(...maps.map((plane) => plane.width)) * side,
      height: rows.reduce((a, b) => a + b, 0) + gap * (count - 1) + 4,
    };
  }

  // The largest cells with which everything fits, side by side or below one another.
  fit(width, height) {
    this.said = this.stage.layers.map((_, index) => this.facts(index));
    this.filled = {};
    let plan;
    // Many channels stand in fewer columns where more would not fit.
    for (this.deep of [20, 45, 90]) {
      const next = this.better(width, height);
      // To scroll down is better than to the side.
      if (!plan || next.width <= width || plan.width > width) plan = next;
      if (plan.width <= width && plan.height <= height) break;
    }
    return plan;
  }

  better(width, height) {
    const best = [false, true].map((upright) => {
      let low = LEAST, high = MOST;
      let plan = this.measure(low, upright, width, height);
      while (low < high) {
        const side = (low + high + 1) >> 1, trial = this.measure(side, upright, width, height);
        if (trial.width <= width && trial.height <= height) [low, plan] = [side, trial];
        else high = side - 1;
      }
      return plan;
    });
    if (this.stage.dims === 1) return best[1];
    const [beside, below] = best.map((plan) => plan.side);
    if (best[0].width > width && best[1].width <= width) return best[1];
    const legible = beside < LEGIBLE && below >= LEGIBLE;
    return legible || below > beside * 1.25 ? best[1] : best[0];
  }

  layout(width, height) {
    const plan = this.plan = this.fit(width - 8, height - 8);
    const { stage } = this, { side, maps, parts } = plan;
    this.boxes = [];
    this.kernels = [];
    let x = 4, y = 4;
    const place = (map, left, top) => {
      const { pads, wide, high, across } = maps[map], depth = stage.maps[map].size[0];
      const planes = Array.from({ length: stage.maps[map].channels * depth }, (_, plane) => {
        const c = floor(plane / depth), z = plane % depth;
        return [
          left + ((c % across) * depth + z) * (wide + BETWEEN) * side + pads[2][0] * side,
          top + floor(c / across) * (high + BETWEEN) * side + pads[1][0] * side,
        ];
      });
      this.boxes[map] = { left, top, planes, width: maps[map].width * side,
        height: maps[map].height * side };
    };
    const kernel = (index, left, top) => {
      this.kernels[index] = { left, top, ...parts[index], ...this.slices(index) };
      this.kernels[index].high = parts[index].height;
    };
    if (plan.upright) {
      const flip = stage.dims === 1;
      const tops = [];
      plan.rows.forEach((row, map) => { tops[map] = y; y += row + plan.gap; });
      const span = max(...maps.map((plane) => plane.width)) * side;
      const real = (map) => maps[map].pads[2][0] * side
        + stage.maps[map].size[2] * side / 2;
      const centre = flip ? max(...maps.map((_, map) => real(map))) : span / 2;
      maps.forEach((plane, map) => {
        const at = flip ? maps.length - 1 - map : map;
        const top = flip ? y - plan.gap - tops[map] - plan.rows[map] + 4 : tops[at];
        const left = x + plan.gutter + (flip ? centre - real(map) : (span - plane.width * side) / 2);
        const bottom = top + plan.rows[map];
        place(map, left, flip ? bottom - plane.height * side : top);
        // Beside a map stands the kernel that reads it; in one axis it lies above the map.
        const name = flip && !plan.above && parts[map]
          ? max(4, bottom - plan.lefts[map]) : top, lines = plan.above ? LINE : 2 * LINE;
        this.boxes[map].label = [x, plan.many ? this.boxes[map].top + side / 2 - 7 : name];
        if (parts[map]) {
          this.boxes[map].below = [x, name + lines + 13 - (plan.above ? 2 : 0)];
          if (parts[map].shown) kernel(map, x, name + lines + 8 + plan.facts[map].length * LINE);
        }
      });
      this.extent = [plan.width + 8, y - plan.gap + 8];
    } else {
      const tall = plan.height - plan.labels;
      maps.forEach((plane, map) => {
        const box = plan.names[map];
        place(map, x + (box - plane.width * side) / 2, y + (tall - plane.height * side) / 2);
        this.boxes[map].label = [x + box / 2, y + tall + LINE + 2];
        x += box + (plan.many ? 0 : plan.gap);
        if (!parts[map]) return;
        const part = parts[map];
        if (part.shown) kernel(map, x + (part.width - part.kernel) / 2, y + (tall - part.height) / 2);
        this.boxes[map].below = [x + part.width / 2, y + tall + LINE + 2];
        this.boxes[map].sign = y + tall / 2;
        x += part.width + plan.gap;
      });
      this.extent = [plan.width + 8, plan.height + 12];
    }
    this.draw();
  }

  // The pixel corner of a place of a map.
  corner(map, [c, z, y, x]) {
    const { side } = this.plan, depth = this.stage.maps[map].size[0];
    const clamped = max(0, min(depth - 1, z));
    const [left, top] = this.boxes[map].planes[c * depth + clamped];
    return [left + x * side, top + y * side];
  }

  tapCorner(number, slice, [tz, ty, tx]) {
    const { left, top, small, across } = this.kernels[number];
    const [depth, rows, columns] = this.stage.layers[number].kernel_size;
    return [
      left + (((slice % across) * depth + tz) * (columns + BETWEEN) + tx) * small,
      top + (floor(slice / across) * (rows + BETWEEN) + ty) * small,
    ];
  }

  draw() {
    const { stage, plan } = this, { side } = plan, [wide, high] = this.extent.map(ceil);
    const upright = plan.upright, out = [], kernels = [];
    stage.maps.forEach((map, index) => {
      const { pads, wide: w, high: h } = plan.maps[index], box = this.boxes[index];
      const [, rows, columns] = map.size;
      const role = index === 0 ? "input" : index === stage.maps.length - 1 ? "output" : "middle";
      const values = [];
      for (const [left, top] of box.planes) {
        const padded = w > columns || h > rows;
        if (padded) {
          const a = left - pads[2][0] * side, b = top - pads[1][0] * side;
          out.push(`<path class="pad" d="${rim(a, b, w, h, side, pads)}"/>`);
        }
        out.push(`<rect class="${role}" x="${left}" y="${top}" width="${columns * side}" ` +
          `height="${rows * side}"/>`);
        const photo = !index && stage.photo;
        if (photo || side < LEGIBLE) {
          out.push(`<image class="${photo ? "photo" : ""}" x="${left}" y="${top}" ` +
            `width="${columns * side}" height="${rows * side}" preserveAspectRatio="none"/>`);
        }
        if (side > 5) values.push(`<path class="grid" d="${lattice(left, top, columns, rows, side)}"/>`);
        values.push(`<rect class="edge ${role}" x="${left}" y="${top}" width="${columns * side}" ` +
          `height="${rows * side}"/>`);
        if (padded && side >= 22) {
          const constant = stage.layers[index].kind === "max" ? "−∞" : "0";
          for (let y = -pads[1][0]; y < rows + pads[1][1]; y++) {
            for (let x = -pads[2][0]; x < columns + pads[2][1]; x++) {
              if (y >= 0 && y < rows && x >= 0 && x < columns) continue;
              const copy = stage.layers[index].padding_mode ?? "zeros";
              if (copy !== "zeros") continue;
              values.push(`<text class="zero" x="${left + (x + 0.5) * side}" ` +
                `y="${top + (y + 0.5) * side}" font-size="${min(15, side * 0.34)}">${constant}</text>`);
            }
          }
        }
      }
      out.push(`<g data-rest="${index}">${values.join("")}</g>`);
      const [lx, ly] = box.label, pitch = side + plan.gap;
      const every = upright && plan.many ? ceil(13 / pitch) : 1;
      const name = !plan.many ? this.mapName(index) : index % every ? "" : String(index);
      const anchor = upright ? "start" : "middle";
      kernels.push(`<text class="name ${anchor}" x="${lx}" y="${ly + (upright ? 11 : 0)}">` +
        `${name}</text>`);
      if (!plan.many) {
        const beside = plan.above ? textWidth(name, 14) + 8 : 0;
        kernels.push(`<text class="size ${anchor}" x="${lx + beside}" ` +
          `y="${ly + (plan.above ? 11 : upright ? 26 : LINE)}">${this.shape(index)}</text>`);
      }
      if (box.below && !plan.many) {
        plan.facts[index].forEach((line, at) => kernels.push(
          `<text class="fact ${anchor}${at ? "" : " first"}" x="${box.below[0]}" ` +
          `y="${box.below[1] + at * LINE}">${line}</text>`));
      }
    });
    stage.layers.forEach((layer, index) => {
      if (!upright && !plan.many) {
        const box = this.boxes[index], part = plan.parts[index];
        const sign = (x, text) => kernels.push(
          `<text class="sign middle" x="${x}" y="${box.sign}">${text}</text>`);
        if (part.shown) sign(box.below[0] - part.width / 2 - plan.gap / 2, "∗");
        sign(part.shown ? box.below[0] + part.width / 2 + plan.gap / 2 : box.below[0],
          part.shown ? "=" : "→");
      }
      const kernel = this.kernels[index];
      if (!kernel) return;
      for (let slice = 0; slice < layer.ins_of; slice++) {
        for (let z = 0; z < layer.kernel_size[0]; z++) {
          const [x, y] = this.tapCorner(index, slice, [z, 0, 0]);
          const [, rows, columns] = layer.kernel_size;
          kernels.push(`<rect class="kernel" x="${x}" y="${y}" width="${columns * kernel.small}" ` +
            `height="${rows * kernel.small}"/><path class="grid kernel" ` +
            `d="${lattice(x, y, columns, rows, kernel.small)}"/>`);
        }
      }
      kernels.push(`<g data-kernel="${index}"></g>`);
    });
    const shades = (name) => [1, 2, 3, 4, 5, 6].map((n) => `<path class="${name} s${n}"/>`).join("");
    set(this.svg, "viewBox", `0 0 ${wide} ${high}`);
    set(this.svg, "width", wide);
    set(this.svg, "height", high);
    this.svg.innerHTML = `<g class="cone"></g><g class="rest">${out.filter((part) =>
      !part.startsWith("<g")).join("")}</g>${shades("way")}${shades("reader")}` +
      `<path class="tap"/><path class="padtap"/><g class="values">${out.filter((part) =>
        part.startsWith("<g")).join("")}</g><path class="links"/>` +
      `<g class="kernels">${kernels.join("")}</g><path class="window"/><path class="weighed"/><path class="here"/>` +
      `<g class="badges"></g>`;
    this.marks = {};
    for (const name of ["tap", "padtap", "links", "window", "weighed", "here"]) {
      this.marks[name] = this.svg.querySelector(`path.${name}`);
    }
    this.ways = [...this.svg.querySelectorAll("path.way")];
    this.reading = [...this.svg.querySelectorAll("path.reader")];
    this.badges = this.svg.querySelector(".badges");
    this.cone = this.svg.querySelector(".cone");
    this.outputs = stage.layers.map(() => 0);
    for (const each of this.svg.querySelectorAll(".photo")) set(each, "href", stage.photo);
  }

  // Write the numbers of all maps; in a walk, those of `maps` maps and the first `known` of the next.
  write(maps = this.stage.maps.length, known = Infinity) {
    const { side } = this.plan;
    let images = [...this.svg.querySelectorAll(".rest image:not(.photo)")];
    this.stage.maps.forEach((map, index) => {
      const depth = map.size[0], [, rows, columns] = map.size;
      const limit = index < maps ? Infinity : index > maps ? 0 : known;
      if (side < LEGIBLE) {
        if (index || !this.stage.photo) {
          this.shade(map, images.splice(0, map.channels * depth), limit);
        }
        return;
      }
      const group = this.svg.querySelector(`[data-rest="${index}"]`);
      const texts = group.querySelectorAll("text.value");
      if (!texts.length) {
        // In one string: a call per cell and attribute would take far longer.
        group.insertAdjacentHTML("beforeend", this.numbers(index, limit));
        return;
      }
      map.values.forEach((value, at) => {
        const text = at < limit ? number(value) : "";
        if (texts[at].textContent === text) return;
        texts[at].textContent = text;
        set(texts[at], "font-size", fontSize(side, text));
      });
    });
    this.stage.layers.forEach((_, index) => this.writeKernel(index));
  }

  // The numbers of a map, of which the first `limit` are known.
  numbers(index, limit) {
    const { side } = this.plan, { values, size: [, rows, columns] } = this.stage.maps[index];
    const usual = fontSize(side, ""), parts = [];
    let at = 0;
    for (const [left, top] of this.boxes[index].planes) {
      for (let y = 0; y < rows; y++) {
        const middle = top + (y + 0.5) * side;
        for (let x = 0; x < columns; x++, at++) {
          const text = at < limit ? number(values[at]) : "", font = fontSize(side, text);
          parts.push(`<text class="value" x="${left + (x + 0.5) * side}" y="${middle}"${
            font === usual ? "" : ` font-size="${font}"`}>${text}</text>`);
        }
      }
    }
    return `<g font-size="${usual}">${parts.join("")}</g>`;
  }

  // Cells too small for numbers are dark or light instead.
  shade(map, images, limit) {
    const plane = map.values.length / images.length, [, rows, columns] = map.size;
    let low = Infinity, high = -Infinity;
    for (const value of map.values) {
      if (!Number.isFinite(value)) continue;
      low = min(low, value);
      high = max(high, value);
    }
    const ink = getComputedStyle(this.svg).color.match(/\d+/g).map(Number);
    images.forEach((image, at) => {
      const canvas = document.createElement("canvas");
      canvas.width = columns;
      canvas.height = rows;
      const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
      for (let i = 0; i < plane; i++) {
        const index = at * plane + i;
        const share = index < limit && high > low ? (map.values[index] - low) / (high - low) : 0;
        pixels.data.set([ink[0], ink[1], ink[2], 80 * max(0, share)], 4 * i);
      }
      context.putImageData(pixels, 0, 0);
      set(image, "href", canvas.toDataURL());
    });
  }

  // The kernel of the output channel that is looked at.
  writeKernel(index) {
    const kernel = this.kernels[index], layer = this.stage.layers[index];
    if (!kernel) return;
    const output = this.outputs[index], first = floor(output / layer.outs_of) * layer.ins_of;
    const parts = [], { small } = kernel;
    for (let slice = 0; slice < layer.ins_of; slice++) {
      for (const tap of taps(layer)) {
        const text = number(layer.weight[this.stage.weightIndex(layer, output, first + slice, tap)]);
        const [x, y] = this.tapCorner(index, slice, tap);
        const size = min(small * 0.42, 18, small * 1.3 / text.length).toFixed(1);
        parts.push(`<text class="value" x="${x + small / 2}" y="${y + small / 2}" ` +
          `font-size="${size}">${text}</text>`);
      }
    }
    if (layer.groups * layer.outs_of > 1) {
      const below = this.plan.upright ? [kernel.left, "start"]
        : [kernel.left + kernel.kernel / 2, "middle"];
      parts.push(`<text class="fact ${below[1]}" x="${below[0]}" ` +
        `y="${kernel.top + kernel.high + 13}">` +
        `${this.say("panel.kernel_number", { number: output })}</text>`);
    }
    this.svg.querySelector(`[data-kernel="${index}"]`).innerHTML = parts.join("");
  }

  // What lies at a point: a place of a map (perhaps in its padding), or a weight; or nothing.
  hit(px, py) {
    const { side } = this.plan;
    for (const [index, kernel] of this.kernels.entries()) {
      if (!kernel) continue;
      const layer = this.stage.layers[index];
      for (let slice = 0; slice < layer.ins_of; slice++) {
        for (const tap of taps(layer)) {
          const [x, y] = this.tapCorner(index, slice, tap);
          if (px >= x && py >= y && px < x + kernel.small && py < y + kernel.small) {
            return { kernel: index, slice, tap };
          }
        }
      }
    }
    for (const [map, box] of this.boxes.entries()) {
      const { pads, wide, high } = this.plan.maps[map], depth = this.stage.maps[map].size[0];
      for (const [plane, [left, top]] of box.planes.entries()) {
        const x = floor((px - left) / side), y = floor((py - top) / side);
        const [low, side0] = [pads[2][0], pads[1][0]];
        if (x < -low || y < -side0 || x >= wide - low || y >= high - side0) continue;
        return { map, at: [floor(plane / depth), plane % depth, y, x] };
      }
    }
    return null;
  }

  inside(map, [c, z, y, x]) {
    const { channels, size } = this.stage.maps[map];
    return c >= 0 && c < channels && [z, y, x].every((p, axis) => p >= 0 && p < size[axis]);
  }

  square(corner, side) {
    return `M${tenths(corner[0])} ${tenths(corner[1])}h${tenths(side)}v${tenths(side)}h${tenths(-side)}z`;
  }

  // Light up a selection: what it reads in blue, who reads it in green.
  show(selected, looked) {
    const { stage, plan } = this, { side } = plan;
    const empty = { tap: "", padtap: "", links: "", window: "", weighed: "", here: "" };
    const ways = ["", "", "", "", "", ""], readers = ["", "", "", "", "", ""];
    const badges = [], cone = [], marks = empty;
    const paint = (into, map, counts) => {
      const most = counts.reduce((a, b) => max(a, b), 0);
      const columns = stage.maps[map].size[2];
      let start = -1, level = -1;
      for (let index = 0; index <= counts.length; index++) {
        const count = counts[index] ?? 0;
        // Where all are alike, none stands out.
        const share = most > 1 ? Math.cbrt(count / most) : 0.5;
        const next = count ? ceil(6 * share) - 1 : -1;
        if (next === level && index % columns) continue;
        if (level >= 0) {
          const [x, y] = this.corner(map, stage.place(map, start));
          into[level] += `M${tenths(x)} ${tenths(y)}h${tenths((index - start) * side)}v${tenths(side)}` +
            `h${tenths((start - index) * side)}z`;
        }
        [start, level] = [index, next];
      }
      return most;
    };
    if (selected?.kernel !== undefined && this.kernels[selected.kernel]) {
      const { kernel, slice, tap } = selected;
      marks.weighed = this.square(this.tapCorner(kernel, slice, tap), this.kernels[kernel].small);
    }
    if (selected?.map !== undefined) {
      marks.here = this.square(this.corner(selected.map, selected.at), side);
    }
    if (looked) {
      const { map, index, field, readers: forward } = looked;
      for (let m = 0; m < map; m++) {
        const most = paint(ways, m, field[m]);
        if (most > 1 && side >= BADGE) {
          field[m].forEach((count, at) => {
            if (!count || badges.length > BADGES) return;
            const [x, y] = this.corner(m, stage.place(m, at));
            badges.push(`<text class="ways" x="${tenths(x + 3)}" y="${tenths(y + 10)}">` +
              `${counted(count)}</text>`);
          });
        }
      }
      for (let m = map + 1; m < stage.maps.length; m++) paint(readers, m, forward[m]);
      this.lookBack(looked, marks, badges, cone);
      if (map) this.turn(map - 1, stage.place(map, index)[0]);
    }
    for (const [name, path] of Object.entries(this.marks)) set(path, "d", marks[name]);
    this.ways.forEach((path, at) => set(path, "d", ways[at]));
    this.reading.forEach((path, at) => set(path, "d", readers[at]));
    this.badges.innerHTML = badges.join("");
    this.cone.innerHTML = cone.join("");
  }

  // The kernel that a value uses.
  turn(index, output) {
    if (this.outputs[index] === output) return;
    this.outputs[index] = output;
    this.writeKernel(index);
  }

  // The window, its weights, and what joins a value to what it reads.
  lookBack({ map, index, field }, marks, badges, cone) {
    const { stage, plan } = this, { side } = plan;
    if (!map) return;
    const around = nowhere();
    const grow = (box, [x, y]) => {
      box[0] = min(box[0], x);
      box[1] = min(box[1], y);
      box[2] = max(box[2], x + side);
      box[3] = max(box[3], y + side);
    };
    const windows = new Map();
    for (const term of stage.terms(map, index)) {
      if (plan.many && term.padded) continue;
      const at = this.corner(map - 1, [term.channel, ...term.place]);
      marks[term.padded ? "padtap" : "tap"] += this.square(at, side);
      grow(around, at);
      const key = term.channel + "," + term.place[0];
      if (!windows.has(key)) windows.set(key, nowhere());
      grow(windows.get(key), at);
      if (term.weight !== null && side >= BADGE && badges.length < BADGES) {
        badges.push(`<text class="by" x="${tenths(at[0] + side - 3)}" ` +
          `y="${tenths(at[1] + side - 3)}">×${number(term.weight)}</text>`);
      }
    }
    for (const [x, y, right, bottom] of windows.values()) {
      marks.window += `M${tenths(x)} ${tenths(y)}H${tenths(right)}V${tenths(bottom)}H${tenths(x)}z`;
    }
    if (stage.dims === 1) this.links(map, field, marks);
    else this.cones(map, index, field, around, grow, cone);
  }

  links(map, field, marks) {
    const { stage } = this;
    let count = 0;
    for (let m = map; m > 0; m--) {
      field[m].forEach((ways, at) => {
        if (!ways || count > LINKS) return;
        const [x, y] = this.corner(m, stage.place(m, at)), half = this.plan.side / 2;
        stage.read(m - 1, at, (source, _, channel, place) => {
          if (this.plan.many && source < 0) return;
          count += 1;
          const to = this.corner(m - 1, [channel, ...place]);
          marks.links += `M${tenths(x + half)} ${tenths(y + 2 * half)}` +
            `L${tenths(to[0] + half)} ${tenths(to[1])}`;
        });
      });
    }
  }

  cones(map, index, field, around, grow, cone) {
    let near = nowhere();
    grow(near, this.corner(map, this.stage.place(map, index)));
    for (let m = map - 1; m >= 0; m--) {
      let far = nowhere();
      if (m === map - 1) far = around;
      else {
        field[m].forEach((count, at) => {
          if (count) grow(far, this.corner(m, this.stage.place(m, at)));
        });
      }
      if (!Number.isFinite(far[0])) return;
      const points = this.plan.upright
        ? [[near[0], near[1]], [near[2], near[1]], [far[2], far[3]], [far[0], far[3]]]
        : [[near[0], near[1]], [near[0], near[3]], [far[2], far[3]], [far[2], far[1]]];
      cone.push(`<polygon points="${points.map((p) => p.map(tenths).join(",")).join(" ")}"/>`);
      near = far;
    }
  }
}

const set = (node, name, value) => node.setAttribute(name, value);
const tenths = (value) => Math.round(value * 10) / 10;

// Every position of a layer's kernel.
function taps(layer) {
  const [depth, rows, columns] = layer.kernel_size, all = [];
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) all.push([z, y, x]);
  }
  return all;
}

// The lines of a grid of cells; its border belongs to it from line 0 on.
function lattice(left, top, columns, rows, side, first = 1) {
  const [wide, high] = [tenths(columns * side), tenths(rows * side)];
  let path = "";
  for (let x = first; x <= columns - first; x++) path += `M${tenths(left + x * side)} ${tenths(top)}v${high}`;
  for (let y = first; y <= rows - first; y++) path += `M${tenths(left)} ${tenths(top + y * side)}h${wide}`;
  return path;
}

// The same around a map. Under it, dashes would be unseen and still take long to paint.
function rim(left, top, wide, high, side, [, rows, columns]) {
  let path = "";
  const lines = (count, [low, up], length, [first, last], draw) => {
    for (let at = 0; at <= count; at++) {
      const parts = at < low || at > count - up ? [[0, length]] : [[0, first], [length - last, last]];
      for (const [from, far] of parts) draw(at, from, tenths(far * side));
    }
  };
  const move = (x, y) => `M${tenths(left + x * side)} ${tenths(top + y * side)}`;
  lines(wide, columns, high, rows, (x, y, far) => { path += `${move(x, y)}v${far}`; });
  lines(high, rows, wide, columns, (y, x, far) => { path += `${move(x, y)}h${far}`; });
  return path;
}

// About how wide a text is: Chinese characters are as wide as they are high.
function textWidth(text, size) {
  let width = 0;
  for (const letter of text) width += letter > "⺀" ? size : size * 0.56;
  return width;
}

// Texts on as few lines of a width as hold them, points between.
function filled(texts, width) {
  const lines = [""];
  const add = (piece, between) => {
    const longer = lines.at(-1) + (lines.at(-1) && between) + piece;
    if (textWidth(longer, 11.5) <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(piece);
  };
  for (const text of texts) {
    if (textWidth(text, 11.5) <= width) add(text, " · ");
    else text.split(" ").forEach((word, at) => add(word, at ? " " : " · "));
  }
  return lines;
}
