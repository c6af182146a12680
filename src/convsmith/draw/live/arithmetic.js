// The arithmetic of a stage: values, fields and readers, from the plain data that Python writes.
// Every map has four axes (channel, depth, row, column); what one or two axes lack has length 1.

const { ceil, floor, max, min } = Math;
const zeros = (count) => new Float64Array(count);

// The real position whose value a padded position takes; -1 where it is a constant.
function sourceIndex(place, length, mode) {
  if (place >= 0 && place < length) return place;
  if (mode === "replicate") return place < 0 ? 0 : length - 1;
  if (mode === "circular") return ((place % length) + length) % length;
  if (mode !== "reflect") return -1;
  const period = 2 * length - 2;
  const folded = period ? ((place % period) + period) % period : 0;
  return min(folded, period - folded);
}

// One axis of a layer on a map of some length. `reads[o]` lists what output o reads, as
// [tap, source, place]; `real[o]` the taps and sources of it that are no constant, flat;
// `readers[i]` lists who reads input i, as [tap, output].
function axisOf(layer, axis, length) {
  const kernel = layer.kernel_size[axis], stride = layer.stride[axis];
  const dilation = layer.dilation[axis], [low, high] = layer.padding[axis];
  const extent = dilation * (kernel - 1) + 1, transposed = layer.kind === "transposed";
  let outputs;
  if (transposed) {
    outputs = (length - 1) * stride - low - high + extent + layer.output_padding[axis];
  } else {
    const room = length + low + high - extent;
    outputs = (layer.ceil_mode ? ceil(room / stride) : floor(room / stride)) + 1;
    if (layer.ceil_mode && (outputs - 1) * stride >= length + low) outputs -= 1;
  }
  const reads = [], real = [], divisors = [], readers = Array.from({ length }, () => []);
  for (let o = 0; o < outputs; o++) {
    const row = [], inside = [];
    let counted = 0;
    for (let tap = 0; tap < kernel; tap++) {
      let place = o * stride - low + tap * dilation, source;
      if (transposed) {
        place = o + low - tap * dilation;
        if (place % stride) continue;
        source = place /= stride;
        if (source < 0 || source >= length) continue;
      } else {
        source = sourceIndex(place, length, layer.padding_mode);
      }
      row.push([tap, source, place]);
      counted += layer.count_include_pad ? place < length + high : source >= 0;
      if (source < 0) continue;
      inside.push(tap, source);
      readers[source].push([tap, o]);
    }
    reads.push(row);
    real.push(inside);
    divisors.push(counted);
  }
  return { outputs, reads, real, readers, divisors, low, high };
}

// What sums pass through on their way into a map.
const sigmoid = (x) => 1 / (1 + Math.exp(-x)), clip = (x) => min(6, max(0, x));
const ACTIVATIONS = {
  relu: (x) => max(0, x), relu6: clip, hardswish: (x) => x * clip(x + 3) / 6, sigmoid,
  silu: (x) => x * sigmoid(x), tanh: Math.tanh,
};

class Stage {
  constructor(data) {
    this.data = data;
    this.dims = data.size.length;
    this.photo = data.photo;
    const lift = (values, usual) => [...Array(3 - this.dims).fill(usual), ...values];
    let channels = data.channels, size = lift(data.size, 1);
    this.maps = [{ channels, size, values: Float64Array.from(data.values.flat(Infinity), Number) }];
    this.layers = data.layers.map((plain, index) => {
      const layer = { ...plain };
      for (const name of ["kernel_size", "stride", "dilation"]) layer[name] = lift(plain[name], 1);
      layer.padding = lift(plain.padding, [0, 0]);
      layer.output_padding = lift(plain.output_padding ?? Array(this.dims).fill(0), 0);
      layer.pool = plain.kind === "max" || plain.kind === "average";
      const outs = layer.pool ? channels : plain.out_channels;
      layer.groups = layer.pool ? channels : plain.groups;
      layer.ins_of = channels / layer.groups;
      layer.outs_of = outs / layer.groups;
      layer.taps = layer.kernel_size.reduce((a, b) => a * b);
      layer.weight = layer.pool ? null : Float64Array.from(data.weights[index].flat(Infinity));
      layer.bias = data.biases[index] ? Float64Array.from(data.biases[index]) : null;
      layer.axes = [0, 1, 2].map((axis) => axisOf(layer, axis, size[axis]));
      channels = outs;
      size = layer.axes.map((axis) => axis.outputs);
      const values = zeros(channels * size[0] * size[1] * size[2]);
      this.maps.push({ channels, size, values });
      return layer;
    });
  }

  // The flat index of a place: [channel, depth, row, column].
  index(map, [c, z, y, x]) {
    const [depth, rows, columns] = this.maps[map].size;
    return ((c * depth + z) * rows + y) * columns + x;
  }

  place(map, index) {
    const [depth, rows, columns] = this.maps[map].size;
    const plane = floor(index / (rows * columns));
    const rest = index % (rows * columns);
    return [floor(plane / depth), plane % depth, floor(rest / columns), rest % columns];
  }

  // The flat index of a weight, in PyTorch's order of its axes.
  weightIndex(layer, output, input, tap) {
    const [, rows, columns] = layer.kernel_size;
    const [first, second] = layer.kind === "transposed"
      ? [input, output % layer.outs_of] : [output, input % layer.ins_of];
    const slices = layer.kind === "transposed" ? layer.outs_of : layer.ins_of;
    return (first * slices + second) * layer.taps + (tap[0] * rows + tap[1]) * columns + tap[2];
  }

  // Calls visit(source, weight, channel, place) for everything that a value is computed from;
  // source is -1 on padding, weight is -1 in a pool. Where sources alone are asked for, the rest is
  // left out: that is quicker.
  read(number, index, visit, whole = true) {
    const layer = this.layers[number];
    const [output, z, y, x] = this.place(number + 1, index);
    const [depths, rows, columns] = layer.axes;
    const [depth, high, wide] = this.maps[number].size;
    const first = floor(output / layer.outs_of) * layer.ins_of;
    for (let c = first; c < first + layer.ins_of; c++) {
      const weighed = whole && !layer.pool;
      const base = weighed ? this.weightIndex(layer, output, c, [0, 0, 0]) : -1;
      for (const [tz, sz, pz] of depths.reads[z]) {
        for (const [ty, sy, py] of rows.reads[y]) {
          for (const [tx, sx, px] of columns.reads[x]) {
            const inside = sz >= 0 && sy >= 0 && sx >= 0;
            const source = inside ? ((c * depth + sz) * high + sy) * wide + sx : -1;
            if (!whole) {
              visit(source);
              continue;
            }
            const tap = (tz * layer.kernel_size[1] + ty) * layer.kernel_size[2] + tx;
            visit(source, weighed ? base + tap : -1, c, [pz, py, px]);
          }
        }
      }
    }
  }

  // Calls visit(output) once for every way in which a value of the next map reads this one.
  readBy(number, index, visit) {
    const layer = this.layers[number];
    const [c, z, y, x] = this.place(number, index);
    const [depth, high, wide] = this.maps[number + 1].size;
    const first = floor(c / layer.ins_of) * layer.outs_of;
    for (let o = first; o < first + layer.outs_of; o++) {
      for (const [, oz] of layer.axes[0].readers[z]) {
        for (const [, oy] of layer.axes[1].readers[y]) {
          for (const [, ox] of layer.axes[2].readers[x]) {
            visit(((o * depth + oz) * high + oy) * wide + ox);
          }
        }
      }
    }
  }

  // What an average pool divides by.
  divisor(number, index) {
    const [, ...at] = this.place(number + 1, index);
    return at.reduce((all, o, axis) => all * this.layers[number].axes[axis].divisors[o], 1);
  }

  // Compute every map after `map`; a new stage holds zeros until `run(0)`.
  run(map) {
    for (let number = map; number < this.layers.length; number++) this.compute(number);
  }

  // Every value by its definition. A page runs it once: plain loops need no time to become fast.
  compute(number) {
    const layer = this.layers[number], { axes, kernel_size: [, rows, columns], pool } = layer;
    const { values: input, size: [depth, high, wide] } = this.maps[number];
    const { values, channels } = this.maps[number + 1], { weight } = layer, taps = [0, 0, 0];
    const activate = ACTIVATIONS[layer.activation] ?? ((x) => x);
    let at = 0;
    for (let o = 0; o < channels; o++) {
      const first = floor(o / layer.outs_of) * layer.ins_of;
      for (const zs of axes[0].real) for (const ys of axes[1].real) for (const xs of axes[2].real) {
        let sum = layer.bias ? layer.bias[o] : 0, largest = -Infinity;
        for (let c = first; c < first + layer.ins_of; c++) {
          const base = pool ? 0 : this.weightIndex(layer, o, c, taps);
          for (let i = 0; i < zs.length; i += 2) {
            for (let j = 0; j < ys.length; j += 2) {
              const line = ((c * depth + zs[i + 1]) * high + ys[j + 1]) * wide;
              const by = base + (zs[i] * rows + ys[j]) * columns;
              for (let k = 0; k < xs.length; k += 2) {
                const value = input[line + xs[k + 1]];
                if (!pool) sum += value * weight[by + xs[k]];
                else if (layer.kind === "average") sum += value;
                else if (value > largest) largest = value;
              }
            }
          }
        }
        values[at] = activate(layer.kind === "max" ? largest
          : pool ? sum / this.divisor(number, at) : sum);
        at += 1;
      }
    }
  }

  // In how many ways a value reaches each value of the maps before it: one array per map.
  field(map, index) {
    const ways = [];
    ways[map] = zeros(this.maps[map].values.length);
    ways[map][index] = 1;
    for (let number = map - 1; number >= 0; number--) {
      const before = ways[number] = zeros(this.maps[number].values.length);
      let count = 0;
      const add = (source) => { if (source >= 0) before[source] += count; };
      for (let at = 0; at < ways[number + 1].length; at++) {
        count = ways[number + 1][at];
        if (count) this.read(number, at, add, false);
      }
    }
    return ways;
  }

  // In how many ways each value of the maps after it reads a value: one array per map.
  readers(map, index) {
    const ways = [];
    ways[map] = zeros(this.maps[map].values.length);
    ways[map][index] = 1;
    for (let number = map; number < this.layers.length; number++) {
      const after = ways[number + 1] = zeros(this.maps[number + 1].values.length);
      ways[number].forEach((count, at) => {
        if (count) this.readBy(number, at, (output) => { after[output] += count; });
      });
    }
    return ways;
  }

  // The operands of a value, in order: value, weight, channel, place, and whether it is padding.
  terms(map, index) {
    const layer = this.layers[map - 1], terms = [];
    this.read(map - 1, index, (source, weight, channel, place) => {
      const empty = layer.kind === "max" ? -Infinity : 0;
      terms.push({
        value: source < 0 ? empty : this.maps[map - 1].values[source],
        weight: weight < 0 ? null : layer.weight[weight],
        channel, place, source, padded: source < 0,
      });
    });
    return terms;
  }

  // What ways say of a map: the smallest box around them, how many positions of it, in how many
  // ways. Channels are taken together: a position is a place on the map.
  extent(map, ways) {
    const [depth, rows, columns] = this.maps[map].size;
    const low = [depth, rows, columns], high = [-1, -1, -1], seen = new Set();
    let paths = 0, values = 0;
    ways.forEach((count, index) => {
      if (!count) return;
      const [, ...at] = this.place(map, index);
      at.forEach((p, axis) => {
        low[axis] = min(low[axis], p);
        high[axis] = max(high[axis], p);
      });
      seen.add(index % (depth * rows * columns));
      paths += count;
      values += 1;
    });
    const span = high.map((h, axis) => h - low[axis] + 1);
    return { low, high, span, positions: seen.size, values, paths };
  }
}
