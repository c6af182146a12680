// What a reader does with a stage: point, tap, move with the keys, change numbers, let it walk.

// A number as it is written anywhere; NaN where it is none. A comma is a decimal one; in 1,000 it may
// be either, and no number is better than a wrong one.
const numeral = (text) => {
  const plain = text.normalize("NFKC").replace("−", "-");
  const value = text ? Number(plain.replace(/^([-+]?0),|,(?!\d{3}$)/, "$1.")) : NaN;
  return Number.isFinite(value) ? value : NaN;
};
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const on = (target, event, work) => target.addEventListener(event, work);

class Hand {
  constructor(root, data) {
    this.root = root;
    this.language = data.language;
    for (const name of ["title", "facts", "picture", "frame", "result", "sum", "note", "spoken",
      "play", "back", "next", "position", "reset", "other", "hint", "legend", "editor"]) {
      this[name] = root.querySelector("." + name);
    }
    this.waiting = [];
    this.load(data);
    this.soon(() => this.listen());
    // A frame that is not shown is not painted.
    setTimeout(() => this.awake(), 400);
    new PerformanceObserver(() => this.awake()).observe({ type: "paint", buffered: true });
  }

  say(key, values = {}) {
    const words = WORDS[key][this.language === "zh" ? 1 : 0];
    return words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  // Show another stage.
  load(data) {
    this.stop();
    this.data = data;
    this.stage = new Stage(data);
    this.drawn = new Picture(this.picture, this.stage, (key, values) => this.say(key, values));
    this.steps = this.stage.maps.slice(1).reduce((all, map) => all + map.values.length, 0);
    this.hovered = null;
    this.known = [];
    this.matrix = data.matrix && new Matrix(this);
    const last = this.stage.maps.length - 1;
    const { size } = this.stage.maps[last];
    // In one axis, which is often time, the last value; elsewhere one in the middle.
    this.pinned = { map: last, at: [0, ...size.map((n) => this.stage.dims < 2 ? n - 1 : n - 1 >> 1)] };
    this.fromAddress();
    this.soon(() => this.stage.run(0));
    this.dress();
    this.arrange();
  }

  // At once, but not before the page is painted for the first time: that shows maps and kernels
  // without numbers, which take longer than all else.
  soon(work) {
    if (this.waiting) this.waiting.push(work);
    else work();
  }

  awake() {
    const works = this.waiting ?? [];
    this.waiting = null;
    for (const work of works) work();
  }

  // Every word of the page in its language.
  dress() {
    const { stage } = this, shapes = stage.maps.map((_, map) => this.drawn.shape(map));
    if (shapes.length > 6) shapes.splice(2, shapes.length - 4, "…");
    const sizes = shapes.join(" → ");
    document.documentElement.lang = this.language === "zh" ? "zh-Hans" : "en";
    const [only] = stage.data.layers;
    this.title.textContent = document.title = this.data.title?.[this.language] ??
      (stage.layers.length === 1 ? this.say("title." + only.name)
        : this.say("stage.layers", { count: stage.layers.length }));
    const note = this.data.note?.[this.language];
    this.facts.textContent = note ? `${sizes} · ${note}` : sizes;
    set(this.picture, "aria-label", this.say("stage.label", { sizes }));
    this.play.textContent = this.say(this.timer ? "control.pause" : "control.play");
    for (const [button, key] of [[this.back, "control.back"], [this.next, "control.next"],
      [this.position, "control.position"]]) set(button, "aria-label", this.say(key));
    this.reset.textContent = this.say("stage.reset");
    // A page in English would otherwise wait for a Chinese typeface.
    this.soon(() => {
      this.other.textContent = this.say("stage.other");
      this.other.lang = this.language === "zh" ? "en" : "zh-Hans";
    });
    this.hint.textContent = this.say("stage.hint");
    set(this.sum, "aria-label", this.say("stage.sum"));
    this.legend.replaceChildren(...[["here", "stage.legend_here"], ["tap", "legend.window"],
      ["by", "stage.legend_by"], ["way", "stage.legend_ways"], ["reader", "stage.legend_readers"],
      ["pad", "legend.padding"]].map(([name, key]) => {
      const item = document.createElement("span");
      item.append(Object.assign(document.createElement("i"), { className: name }), this.say(key));
      return item;
    }));
    this.position.max = this.steps - 1;
  }

  arrange() {
    const { clientWidth: wide, clientHeight: high } = this.frame;
    this.room = wide + "×" + high;
    this.drawn.layout(wide, high);
    for (const [name, layers] of [["pad", this.stage.layers.filter((layer) =>
      layer.padding.flat().some(Boolean) && layer.kind !== "transposed")],
    ["by", this.stage.layers.filter((layer) => !layer.pool && this.drawn.plan.side >= BADGE)]]) {
      this.legend.querySelector("." + name).parentNode.hidden = !layers.length;
    }
    this.soon(() => {
      this.drawn.write(...this.known);
      this.matrix?.draw();
      this.refresh();
      // Not now: to ask for a place would lay the page out once more.
      requestAnimationFrame(() => this.reveal());
    });
  }

  // What is shown: what is pointed at, else what was chosen.
  refresh(aloud = false) {
    const selected = this.hovered ?? this.pinned, { stage } = this;
    if (selected.map !== undefined) {
      const at = this.real(selected);
      if (at) this.looked = this.look(selected.map, stage.index(selected.map, at));
      else this.looked = null;
    }
    this.drawn.show(selected, this.looked);
    this.tell(selected);
    this.matrix?.show(selected);
    if (aloud) this.spoken.textContent =
      [this.result, this.sum, this.note].map((part) => part.textContent).join(" ");
    const step = this.stepOf(this.looked);
    if (step >= 0) this.position.value = step;
    set(this.position, "aria-valuetext", this.result.textContent);
  }

  // The place itself, or that which a padded place is a copy of; null on constant padding.
  real({ map, at }) {
    if (this.drawn.inside(map, at)) return at;
    const mode = this.stage.layers[map]?.padding_mode;
    const size = this.stage.maps[map].size;
    const source = [at[0], ...at.slice(1).map((p, axis) => sourceIndex(p, size[axis], mode))];
    return source.includes(-1) ? null : source;
  }

  look(map, index) {
    const { stage } = this;
    return { map, index, value: stage.maps[map].values[index], field: stage.field(map, index),
      readers: stage.readers(map, index) };
  }

  // A place as code writes it.
  placed(map, place) {
    return `${this.drawn.mapName(map)}[${this.axes(map, place).join(", ")}]`;
  }

  // Without the axes that the map does not have.
  axes(map, [c, z, y, x]) {
    const { dims, maps } = this.stage, at = [z, y, x].slice(3 - dims);
    return maps[map].channels > 1 ? [c, ...at] : at;
  }

  tell(selected) {
    const { stage } = this;
    const [result, sum, note] = this.said(selected);
    this.result.textContent = result;
    this.sum.replaceChildren(...sum);
    this.sum.hidden = !sum.length;
    this.note.textContent = note;
    this.root.classList.toggle("first", !stage || this.looked?.map === 0);
  }

  // The result, its sum as nodes, and what it reads and who reads it.
  said(selected) {
    const { stage, drawn } = this;
    if (selected.kernel !== undefined) {
      const [name, at] = this.weightPlace(selected);
      return [this.say("stage.weight_cell", {
        place: name, value: number(stage.layers[selected.kernel].weight[at]),
        channel: drawn.outputs[selected.kernel], map: this.theMap(selected.kernel + 1),
      }), [], ""];
    }
    const { map, at } = selected, place = this.placed(map, at);
    if (!drawn.inside(map, at)) {
      const source = this.real(selected), layer = stage.layers[map];
      if (!source) {
        const value = layer.kind === "max" ? "−∞" : "0";
        return [this.say("stage.padding_cell", { place, value }), [], ""];
      }
      return [this.say("stage.padding_copy", { place, source: this.placed(map, source),
        value: number(this.looked.value) }), [], this.around()];
    }
    const result = `${place} = ${number(this.looked.value)}`;
    return [result, map ? this.operands(map, this.looked.index) : [], this.around()];
  }

  // The sum written out: products channel by channel, padding set off.
  operands(map, index) {
    const { stage } = this, layer = stage.layers[map - 1], terms = stage.terms(map, index);
    const bracket = (value) => value < 0 ? `(${number(value)})` : number(value);
    const parts = [], most = 48, brackets = !layer.pool && layer.ins_of > 1 && layer.taps > 1;
    const add = (text, name) => {
      const span = document.createElement("span");
      span.textContent = text;
      if (name) span.className = name;
      parts.push(span);
    };
    const { activation } = layer;
    add(`= ${activation ? activation + "(" : ""}${layer.kind === "max" ? "max(" :
      layer.pool ? "(" : ""}`, "sign");
    const operands = layer.kind === "average" ? terms.filter((term) => !term.padded) : terms;
    operands.slice(0, most).forEach((term, at) => {
      const fresh = brackets && term.channel !== operands[at - 1]?.channel;
      if (fresh) add(at ? ") + (" : "(", "sign");
      else if (at) add(layer.kind === "max" ? ", " : " + ", "sign");
      const text = layer.kind === "max" ? number(term.value) : layer.pool ? bracket(term.value)
        : `${bracket(term.value)}·${bracket(term.weight)}`;
      add(text, term.padded ? "off" : "");
    });
    if (operands.length > most) {
      add(" " + this.say(layer.pool ? "stage.terms_pool" : "stage.terms",
        { count: operands.length }), "sign");
    }
    if (!operands.length) add("0", "off");
    if (brackets && operands.length) add(")", "sign");
    if (layer.bias) {
      add(" + ", "sign");
      const value = bracket(layer.bias[stage.place(map, index)[0]]);
      add(this.say("stage.bias", { value }), "bias");
    }
    if (layer.pool) add(")", "sign");
    if (layer.kind === "average") add(` / ${stage.divisor(map - 1, index)}`, "sign");
    if (activation) add(")", "sign");
    return parts;
  }

  // A map's name within a sentence.
  theMap(map) {
    return map === this.stage.layers.length ? this.say("stage.the_output") : this.drawn.mapName(map);
  }

  // What a value reads of the input, and who reads it.
  around() {
    const { stage, looked, drawn } = this, parts = [];
    if (looked.map) {
      const { span, positions, paths } = stage.extent(0, looked.field[0]);
      const every = span.reduce((a, b) => a * b), box = times(span.slice(3 - stage.dims));
      const one = looked.field[0].every((count) => count < 2) && looked.map === 1;
      parts.push(positions === 0 ? this.say("stage.field_none") : this.say(
        one ? "stage.field_one" : "stage.field",
        { box, input: times(stage.data.size), read: positions, every, paths: counted(paths) }));
    }
    if (looked.map < stage.layers.length) {
      const readers = [];
      for (let m = looked.map + 1; m < stage.maps.length; m++) {
        const count = looked.readers[m].reduce((all, ways) => all + (ways > 0), 0);
        if (count) readers.push(this.say(count > 1 ? "stage.read_part" : "stage.read_one",
          { count, map: this.theMap(m) }));
      }
      if (readers.length > 4) readers.splice(2, readers.length - 3, "…");
      parts.push(readers.length
        ? this.say("stage.read_by", { parts: readers.join(this.say("stage.and")) })
        : this.say("stage.unread"));
    }
    return parts.join(this.language === "zh" ? "" : " ");
  }

  // A weight of the kernel that is shown: how code writes it, and its flat index.
  weightPlace({ kernel, slice, tap }) {
    const { stage } = this, layer = stage.layers[kernel], output = this.drawn.outputs[kernel];
    const input = floor(output / layer.outs_of) * layer.ins_of + slice;
    const pair = layer.kind === "transposed" ? [input, output % layer.outs_of]
      : [output, input % layer.ins_of];
    const at = [...pair, ...tap.slice(3 - stage.dims)];
    return [`${this.say("stage.weight")}[${at.join(", ")}]`,
      stage.weightIndex(layer, output, input, tap)];
  }

  choose(selected, aloud = true) {
    this.pinned = selected;
    this.hovered = null;
    this.refresh(aloud);
    this.toAddress();
  }

  // The address holds the place, so that a link opens at it.
  toAddress() {
    const { map, at } = this.pinned;
    if (map === undefined || !this.drawn.inside(map, at)) return;
    const places = at.slice(1 + 3 - this.stage.dims);
    const channel = this.stage.maps[map].channels > 1 ? `&channel=${at[0]}` : "";
    const language = this.language === STAGE.language ? "" : `&language=${this.language}`;
    try {
      history.replaceState(null, "", `#map=${map}${channel}&at=${places.join(",")}${language}`);
    } catch { /* a frame without an address of its own */ }
  }

  fromAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const language = said.get("language");
    if (language === "zh" || language === "en") this.language = language;
    if (!said.has("map")) return;
    const map = Number(said.get("map")), places = (said.get("at") ?? "").split(",").map(Number);
    const at = [Number(said.get("channel") ?? 0), ...Array(3 - this.stage.dims).fill(0), ...places];
    const fits = this.stage.maps[map] && at.length === 4 && at.every(Number.isInteger);
    if (fits && this.drawn.inside(map, at)) this.pinned = { map, at };
  }

  // Walk: every value in the order in which it is computed.
  stepOf(looked) {
    if (!looked?.map) return -1;
    const before = this.stage.maps.slice(1, looked.map);
    return before.reduce((all, map) => all + map.values.length, looked.index);
  }

  goto(step, aloud = false) {
    let map = 1, index = ((step % this.steps) + this.steps) % this.steps;
    while (index >= this.stage.maps[map].values.length) {
      index -= this.stage.maps[map].values.length;
      map += 1;
    }
    this.known = [map, index + 1];
    this.drawn.write(...this.known);
    this.choose({ map, at: this.stage.place(map, index) }, aloud);
    this.walked = true;
  }

  start() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const pace = max(calm ? 1000 : 60, min(700, 45000 / this.steps));
    const at = this.stepOf(this.looked);
    let step = this.walked && at < this.steps - 1 ? at : -1;
    this.timer = setInterval(() => {
      step += 1;
      if (step >= this.steps) this.stop();
      else this.goto(step);
    }, pace);
    this.goto(step + 1);
    step += 1;
    this.play.textContent = this.say("control.pause");
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    if (this.drawn) this.play.textContent = this.say("control.play");
  }

  // Every number is known again.
  finish() {
    this.stop();
    if (!this.walked) return;
    this.walked = false;
    this.known = [];
    this.drawn.write();
  }

  listen() {
    const { picture, frame } = this;
    const hit = (event) => {
      const box = picture.getBoundingClientRect();
      return this.drawn.hit(event.clientX - box.left, event.clientY - box.top);
    };
    on(picture, "pointermove", (event) => {
      if (event.pointerType === "touch" || this.timer) return;
      const under = hit(event), key = JSON.stringify(under);
      if (key === this.under) return;
      this.under = key;
      this.hovered = under;
      if (under && this.walked) this.finish();
      this.refresh();
    });
    on(picture, "pointerleave", () => {
      this.under = "";
      if (!this.hovered) return;
      this.hovered = null;
      this.refresh();
    });
    on(picture, "click", (event) => {
      const under = hit(event);
      this.finish();
      if (!under) return;
      const again = JSON.stringify(under) === JSON.stringify(this.pinned);
      this.choose(under);
      if (again) this.edit();
    });
    on(picture, "keydown", (event) => this.key(event));
    on(picture, "focus", () => { if (!this.timer) this.refresh(true); });
    this.play.onclick = () => {
      if (this.timer) this.stop();
      else this.start();
    };
    const by = (move) => () => {
      this.stop();
      const at = this.stepOf(this.looked);
      this.goto(at < 0 ? 0 : at + move, true);
    };
    this.back.onclick = by(-1);
    this.next.onclick = by(1);
    this.position.oninput = () => {
      this.stop();
      this.goto(Number(this.position.value));
    };
    this.reset.onclick = () => this.load(this.data);
    this.other.onclick = () => {
      this.language = this.language === "zh" ? "en" : "zh";
      this.dress();
      this.arrange();
      this.toAddress();
    };
    on(window, "hashchange", () => {
      this.fromAddress();
      this.refresh(true);
    });
    // Not only when the window changes: a frame may be shown long after it was loaded.
    new ResizeObserver(() => {
      const room = frame.clientWidth + "×" + frame.clientHeight;
      if (room !== this.room) this.arrange();
    }).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.arrange());
    on(picture, "paste", (event) => {
      event.preventDefault();
      this.paste(event.clipboardData.getData("text"));
    });
    on(document, "paste", (event) => {
      if (event.target === picture || event.target.tagName === "INPUT") return;
      this.paste(event.clipboardData.getData("text"));
    });
    // Of many numbers, one is not the field's.
    on(this.editor, "paste", (event) => {
      const text = event.clipboardData.getData("text").trim();
      if (!/\s|\[/.test(text)) return;
      event.preventDefault();
      this.close();
      this.paste(text);
    });
    // Anywhere: beside the maps, the browser would leave the page for the file.
    on(document, "dragover", (event) => event.preventDefault());
    on(document, "drop", (event) => {
      event.preventDefault();
      const { files: [file] } = event.dataTransfer;
      this.drop(file, event.dataTransfer.getData("text"));
    });
    on(this.editor, "keydown", (event) => {
      if (event.key === "Escape") this.close();
      if (event.key === "Enter" || event.key === "Tab") {
        event.preventDefault();
        if (this.commit()) this.move(0, 1);
      }
    });
    on(this.editor, "blur", () => { if (!this.editor.hidden) this.commit(); });
  }

  key(event) {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (MOVES[key]) this.move(...MOVES[key]);
    else if (key === "Home") this.move(0, -Infinity);
    else if (key === "End") this.move(0, Infinity);
    else if (key === "PageUp") this.across(-1);
    else if (key === "PageDown") this.across(1);
    else if (key === " ") this.play.click();
    else if (key === "Enter" || key === "F2") this.edit();
    else if (/^[\d.\-−]$/.test(key)) this.edit(key);
    else return;
    event.preventDefault();
  }

  // To a neighbouring cell; past the last row to the next channel.
  move(down, right) {
    if (!this.timer) this.finish();
    this.stop();
    const { stage } = this, clamp = (n, most) => max(0, min(most - 1, n));
    if (this.pinned.kernel !== undefined) {
      const { kernel, slice, tap } = this.pinned, layer = stage.layers[kernel];
      let [z, y, x] = tap, next = slice;
      y += down;
      if (y < 0 && slice > 0) [next, y] = [slice - 1, layer.kernel_size[1] - 1];
      if (y >= layer.kernel_size[1] && slice < layer.ins_of - 1) [next, y] = [slice + 1, 0];
      const at = [z, clamp(y, layer.kernel_size[1]), clamp(x + right, layer.kernel_size[2])];
      this.choose({ kernel, slice: next, tap: at });
      return;
    }
    const { map } = this.pinned, { channels, size } = stage.maps[map];
    let [c, z, y, x] = this.pinned.at;
    [y, x] = [y + down, x + right];
    if (size[0] > 1 && Number.isFinite(x)) {
      if (x >= size[2] && z < size[0] - 1) [z, x] = [z + 1, 0];
      if (x < 0 && z > 0) [z, x] = [z - 1, size[2] - 1];
    }
    if (y >= size[1] && c < channels - 1) [c, y] = [c + 1, 0];
    if (y < 0 && c > 0) [c, y] = [c - 1, size[1] - 1];
    this.choose({ map, at: [clamp(c, channels), z, clamp(y, size[1]), clamp(x, size[2])] });
    this.reveal();
  }

  // To the map or kernel before or after.
  across(by) {
    this.finish();
    const stops = [];
    this.stage.maps.forEach((map, index) => {
      stops.push({ map: index });
      if (this.drawn.kernels[index]) stops.push({ kernel: index });
    });
    const { map, kernel, at } = this.pinned;
    const now = stops.findIndex((stop) => map === undefined ? stop.kernel === kernel
      : stop.map === map);
    const stop = stops[max(0, min(stops.length - 1, now + by))];
    if (stop.kernel !== undefined) this.choose({ kernel: stop.kernel, slice: 0, tap: [0, 0, 0] });
    else {
      const { channels, size } = this.stage.maps[stop.map];
      const from = at ?? [0, 0, 0, 0];
      this.choose({ map: stop.map, at: from.map((p, axis) =>
        max(0, min(p, [channels, ...size][axis] - 1))) });
    }
    this.reveal();
  }

  // What is chosen is never out of sight.
  reveal() {
    const { map, at } = this.pinned, { frame } = this;
    if (map === undefined) return;
    const [x, y] = this.drawn.corner(map, at), margin = 60;
    frame.scrollLeft = max(min(frame.scrollLeft, x - margin),
      x + margin - frame.clientWidth);
    frame.scrollTop = max(min(frame.scrollTop, y - margin),
      y + margin - frame.clientHeight);
  }

  // Where the chosen number is kept, and its corner; null where it follows from others.
  slot() {
    const { stage, drawn, pinned } = this;
    if (pinned.kernel !== undefined) {
      const [name, index] = this.weightPlace(pinned);
      return { name, values: stage.layers[pinned.kernel].weight, index, from: pinned.kernel,
        corner: drawn.tapCorner(pinned.kernel, pinned.slice, pinned.tap),
        side: drawn.kernels[pinned.kernel].small };
    }
    if (pinned.map !== 0 || !drawn.inside(0, pinned.at)) return null;
    return { name: this.placed(0, pinned.at), values: stage.maps[0].values,
      index: stage.index(0, pinned.at), from: 0, corner: drawn.corner(0, pinned.at),
      side: drawn.plan.side };
  }

  // What the reader is told instead of what a value reads, until the next move.
  message(key, values) {
    this.spoken.textContent = this.note.textContent = this.say(key, values);
  }

  edit(first) {
    const slot = this.slot(), { editor, frame, picture } = this;
    if (!slot) {
      this.message("stage.follows");
      return;
    }
    const wide = max(slot.side, 44), high = max(slot.side, 28);
    const [inner, outer] = [picture, frame].map((each) => each.getBoundingClientRect());
    const left = inner.left - outer.left + frame.scrollLeft + slot.corner[0];
    const top = inner.top - outer.top + frame.scrollTop + slot.corner[1];
    Object.assign(editor.style, {
      left: `${left + (slot.side - wide) / 2}px`, top: `${top + (slot.side - high) / 2}px`,
      width: `${wide}px`, height: `${high}px`,
    });
    set(editor, "aria-label", this.say("stage.edit", { place: slot.name }));
    editor.value = first ?? String(slot.values[slot.index]);
    editor.removeAttribute("aria-invalid");
    editor.hidden = false;
    this.slotted = slot;
    editor.focus();
    if (!first) editor.select();
  }

  close() {
    this.editor.hidden = true;
    this.picture.focus({ preventScroll: true });
  }

  commit() {
    const { editor, slotted } = this;
    const value = numeral(editor.value.trim());
    if (Number.isNaN(value)) {
      set(editor, "aria-invalid", "true");
      this.message("stage.no_number", { text: editor.value });
      if (document.activeElement !== editor) this.close();
      return false;
    }
    editor.hidden = true;
    this.put(slotted, [[0, value]]);
    this.picture.focus({ preventScroll: true });
    return true;
  }

  // Change numbers, and everything that follows from them.
  put({ values, index, from }, changes) {
    for (const [by, value] of changes) values[index + by] = value;
    this.stage.run(from);
    this.drawn.write();
    this.matrix?.draw();
    this.refresh(true);
  }

  // Numbers from a spreadsheet, a CSV file, JSON or a printed tensor, from the chosen cell on; on
  // the input where the chosen one follows from others. As many rows as all channels have fill all.
  paste(text) {
    if (!this.slot()) this.pinned = { map: 0, at: [0, 0, 0, 0] };
    const slot = this.slot(), { kernel, at, tap, slice } = this.pinned;
    const layer = this.stage.layers[kernel], { channels } = this.stage.maps[0];
    const [depth, rows, columns] = layer ? layer.kernel_size : this.stage.maps[0].size;
    // The planes that follow one another in memory, from this one on.
    const planes = !layer ? (channels - at[0]) * depth - at[1]
      : (layer.kind === "transposed" ? 1 : layer.ins_of - slice) * depth - tap[0];
    // The cells of a spreadsheet: a comma within is decimal, and an empty one keeps its place.
    const cells = /^[^[]*[\t;]/.test(text);
    let lines = text.replace(/\w+=[^\s,)]+|[a-z_]+\(|\)/gi, "").replace(/\]\s*[,;]?\s*\[/g, "\n")
      .replace(/[[\]]/g, " ").split(cells ? "\n" : /[\n;]/).filter((line) => line.trim())
      .map((line) => cells ? line.split(/[\t;]/) : line.match(/[^\s,]+/g) ?? []);
    // In one axis, a column is a row.
    if (rows * planes === 1) lines = [lines.flat()];
    const [y, x] = (at ?? tap).slice(-2), changes = [], all = lines.flat().filter((word) => word.trim()).length;
    const whole = lines.length === rows * planes && !y;
    lines.forEach((line, down) => line.forEach((word, right) => {
      const value = numeral(word.trim());
      if (!Number.isNaN(value) && (whole || y + down < rows) && x + right < columns) {
        changes.push([down * columns + right, value]);
      }
    }));
    this.put(slot, changes);
    if (!changes.length) this.message("stage.no_number", { text: text.trim().slice(0, 40) });
    else if (changes.length < all) this.message("stage.pasted", { count: changes.length, all });
  }

  async drop(file, text) {
    if (!file) {
      if (text) this.paste(text);
      return;
    }
    // Numbers of a file: .csv, .txt, .json.
    if (/text|json/.test(file.type)) this.paste(await file.text());
    else await this.photograph(file).catch(() => this.message("stage.no_image", file));
  }

  // The pixels of an image, 0 to 255: red, green and blue in three channels, otherwise grey.
  async photograph(file) {
    const { channels, size: [depth, rows, columns], values } = this.stage.maps[0];
    const image = await createImageBitmap(file), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, columns, rows);
    const { data } = context.getImageData(0, 0, columns, rows), plane = rows * columns;
    for (let at = 0; at < values.length; at++) {
      const pixel = 4 * (at % plane), [red, green, blue] = data.slice(pixel, pixel + 3);
      const c = floor(at / (plane * depth));
      values[at] = channels === 3 ? [red, green, blue][c]
        : Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    }
    this.stage.photo = canvas.toDataURL();
    this.arrange();
    this.put({ values, index: 0, from: 0 }, []);
  }
}

const hand = new Hand(document.querySelector("main"), STAGE);
