// Runs the network beside a page, which answers its user meanwhile.
//
//     const worker = new Worker("net.worker.js", { type: "module" });
//     worker.postMessage([image]); // Float32Array of inputs[0].size values
//
// It posts { inputs, outputs } once it is ready, { results, milliseconds } after each run, and
// { error } where something fails.
import { load } from "./net.js";

try {
  const network = await load(await (await fetch("net.wasm")).arrayBuffer());
  self.onmessage = ({ data }) => {
    try {
      const start = performance.now();
      const results = network.run(data);
      const milliseconds = performance.now() - start;
      self.postMessage({ results, milliseconds }, results.map(({ buffer }) => buffer));
    } catch (error) {
      self.postMessage({ error: error.message });
    }
  };
  self.postMessage({ inputs: network.inputs, outputs: network.outputs });
} catch (error) {
  self.postMessage({ error: error.message });
}
