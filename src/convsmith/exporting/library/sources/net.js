// Runs the network in a browser or in Node.
//
//     const net = await load(await (await fetch("net.wasm")).arrayBuffer());
//     const [result] = net.run([image]); // Float32Array of net.inputs[0].size values
//
// Inputs and outputs are dense tensors of float32, the last axis innermost.

const inputs = @INPUTS@;
const outputs = @OUTPUTS@;

// The library computes and does nothing else: what the C library would ask a system for is refused.
function refusing(module) {
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== "function") throw new Error(`net.wasm asks for ${from}.${name}`);
    imports[from] ??= {};
    imports[from][name] = () => {
      throw new Error(`net.wasm called ${name}`);
    };
  }
  return imports;
}

export async function load(bytes) {
  const module = await WebAssembly.compile(bytes);
  const { exports: library } = await WebAssembly.instantiate(module, refusing(module));
  if (library._initialize) library._initialize();
  const network = library.net_create(0);
  if (!network) throw new Error("no memory for the network");

  // Places of the tensors, and the two tables of their addresses.
  const reserve = (tensors) => tensors.map(({ size }) => library.malloc(4 * size));
  const places = [reserve(inputs), reserve(outputs)];
  const tables = places.map((some) => library.malloc(4 * some.length));
  if ([...places.flat(), ...tables].includes(0)) throw new Error("no memory for its tensors");
  tables.forEach((table, i) => new Uint32Array(library.memory.buffer, table).set(places[i]));

  function run(values) {
    if (values.length !== inputs.length) throw new Error(`the network takes ${inputs.length} inputs`);
    values.forEach((value, i) => {
      if (value.length !== inputs[i].size)
        throw new Error(`${inputs[i].name} has ${inputs[i].size} values, not ${value.length}`);
      new Float32Array(library.memory.buffer, places[0][i], value.length).set(value);
    });
    const status = library.net_run(network, ...tables);
    if (status) throw new Error(`a kernel failed with status ${status}`);
    return outputs.map(({ size }, i) =>
      new Float32Array(library.memory.buffer, places[1][i], size).slice());
  }
  return { inputs, outputs, run };
}
