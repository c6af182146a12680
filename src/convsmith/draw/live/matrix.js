// A layer as a matrix below its maps. Either a row per output and a column per input, or, as im2col,
// a row per weight and a column per output, which holds what that output reads. An entry is linked
// to the cells of the maps, and they to its row, its column or all their entries.

class Matrix {
  constructor(hand) {
    this.hand = hand;
    this.unrolled = hand.data.matrix === "im2col";
    const svg = this.svg = hand.root.querySelector(".matrix");
    svg.onpointermove = ({ clientX, clientY }) => {
      const box = svg.getBoundingClientRect();
      this.go(floor((clientY - box.top - 14) / this.side),
        floor((clientX - box.left - this.left) / this.side));
    };
    svg.onpointerleave = () => this.go(-1);
    svg.onclick = () => { if (hand.hovered) hand.choose(hand.hovered); };
    svg.onkeydown = (event) => {
      const [down, right] = MOVES[event.key] ?? [], [row, column] = this.at ?? [0, 0];
      if (down === undefined) return;
      event.preventDefault();
      if (this.table[row + down]?.[column + right]) this.go(row + down, column + right, true);
    };
  }

  // Point at an entry; off the matrix, at none.
  go(row, column, aloud) {
    const { hand } = this, { stage } = hand;
    this.at = this.table[row]?.[column] && [row, column];
    hand.hovered = this.at ? { map: 1, at: stage.place(1, this.unrolled ? column : row) } : null;
    hand.refresh(aloud);
  }

  // An entry: its value, the input and the weight that it stands for, -1 where there is none.
  draw() {
    const { hand, svg } = this, { stage, frame } = hand, [{ weight: weights }] = stage.layers;
    const short = (map, index) => hand.axes(map, stage.place(map, index)).join();
    const empty = [...stage.maps[0].values].map((_, source) => ({ value: 0, source, weight: -1 }));
    let names = [], heads = [];
    this.table = [...stage.maps[1].values].map((_, output) => {
      const row = this.unrolled ? [] : [...empty];
      stage.read(0, output, (source, weight) => {
        if (this.unrolled) {
          row.push({ value: source < 0 ? 0 : stage.maps[0].values[source], source, weight });
        } else if (source >= 0) {
          row[source] = { value: row[source].value + weights[weight], source, weight };
        }
      });
      names.push(short(1, output));
      return row;
    });
    if (this.unrolled) {
      heads = names;
      names = this.table[0].map(({ weight }) => "×" + number(weights[weight]));
      this.table = names.map((_, at) => this.table.map((row) => row[at]));
    } else heads = empty.map((_, input) => short(0, input));
    const left = this.left = 12 + 6 * max(...names.map((name) => name.length));
    const side = this.side = floor(max(14, min(32, (frame.clientWidth - left - 4) / heads.length,
      (innerHeight * 0.36 - 16) / names.length)));
    const parts = [], put = (name, x, y, text) => parts.push(
      `<text class="${name}" x="${x}" y="${y}" font-size="${min(13, fontSize(side * 1.35, text))}">${text}</text>`);
    heads.forEach((head, at) => put("zero", left + (at + 0.5) * side, 7, head));
    this.table.forEach((row, down) => {
      const y = 14 + (down + 0.5) * side;
      put("fact", 2, y + 4, names[down]);
      row.forEach(({ value, weight, source }, right) => {
        put(weight < 0 || source < 0 ? "zero" : "value", left + (right + 0.5) * side, y, number(value));
      });
    });
    const size = names.length + "×" + heads.length;
    set(svg, "width", left + heads.length * side + 2);
    set(svg, "height", 16 + names.length * side);
    set(svg, "aria-label", hand.say("matrix.label", { name: this.name(), size }));
    svg.innerHTML = `<path class="way s2"/><path class="reader s3"/><path class="grid" ` +
      `d="${lattice(left, 14, heads.length, names.length, side, 0)}"/>${parts.join("")}` +
      `<path class="here"/>`;
  }

  name() {
    return this.unrolled ? "im2col" : this.hand.say("matrix.name");
  }

  // Light up what is selected, in the matrix, and what an entry is, on the maps.
  show({ map, kernel }) {
    const { hand, table, left, side, svg } = this, { looked, drawn, stage } = hand;
    if (!table) return;
    const marks = { way: "", reader: "", here: "" };
    const chosen = kernel === 0 ? hand.weightPlace(hand.hovered ?? hand.pinned)[1] : -2;
    const square = (row, column) => drawn.square([left + column * side, 14 + row * side], side);
    table.forEach((row, down) => row.forEach(({ source, weight }, right) => {
      if (map === 1 && looked.index === (this.unrolled ? right : down) || weight === chosen) {
        marks.way += square(down, right);
      }
      if (map === 0 && looked?.index === source && weight >= 0) marks.reader += square(down, right);
    }));
    if (!hand.hovered) this.at = null;
    if (this.at) {
      const { value, source, weight } = table[this.at[0]][this.at[1]], [layer] = stage.layers;
      marks.here = square(...this.at);
      let from = "";
      if (source >= 0) {
        const place = stage.place(0, source);
        from = ` (${hand.placed(0, place)})`;
        set(drawn.marks.weighed, "d", drawn.square(drawn.corner(0, place), drawn.plan.side)
          + (weight < 0 || !drawn.kernels[0] ? "" : drawn.square(drawn.tapCorner(0,
            place[0] % layer.ins_of, taps(layer)[weight % layer.taps]), drawn.kernels[0].small)));
      }
      hand.result.textContent = `${this.name()}[${this.at.join(", ")}] = ${number(value)}${from} · `
        + hand.result.textContent;
    }
    for (const name in marks) set(svg.querySelector("." + name), "d", marks[name]);
  }
}
