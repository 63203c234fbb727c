// Attention in JavaScript, served to difftest by Node 20 or later:
//
//     difftest --case 'sdpa/**' -- node pyref/examples/sdpa.mjs
//
// JavaScript computes in float64 and rounds the output to the dtype of the case. Shapes are
// (..., H, T, E).

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const arrays = { "<f4": Float32Array, "<f8": Float64Array, "|b1": Uint8Array };
const types = { float32: "<f4", float64: "<f8" };
const offered = ["query", "key", "value", "allow", "bias", "sinks"];

class Skip extends Error {}

// serve answers every message with one line. Prints for people must go to stderr, by console.error.
async function serve() {
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    if (message.type === "stop") break;
    process.stdout.write(JSON.stringify({ seq: message.seq, ...reply(message) }) + "\n");
  }
}

function reply({ type, dir, request }) {
  switch (type) {
    case "start":
      return {
        type: "started", protocol: 1, name: "sdpa.mjs", version: "1.0", language: "javascript",
        precision: "", ops: ["scaled_dot_product_attention"], features: null,
      };
    case "run":
      return run(dir, request);
    default: // done
      return { type: "ok" };
  }
}

function run(dir, { inputs, config, precision, output }) {
  try {
    if (!(precision in types)) throw new Skip(`no arrays of ${precision}`);
    const unknown = Object.keys(inputs).sort().find((name) => !offered.includes(name));
    if (unknown) throw new Skip(`no ${unknown} yet`);
    const tensors = Object.fromEntries(Object.entries(inputs).map(([name, file]) => [name, read(join(dir, file))]));
    write(join(dir, output), attend(tensors, config), types[precision]);
    return { type: "ok" };
  } catch (error) {
    if (error instanceof Skip) return { type: "skipped", reason: error.message };
    return { type: "error", message: String(error), traceback: error.stack };
  }
}

// attend computes scaled_dot_product_attention of query (..., H, L, E), key (..., Hk, S, E) and
// value (..., Hk, S, Ev).
function attend({ query, key, value, allow, bias, sinks }, config) {
  const [L, E] = query.shape.slice(-2), [S, Ev] = value.shape.slice(-2);
  const outer = broadcast(query.shape.slice(0, -2), key.shape.slice(0, -2)), H = outer.at(-1);
  const output = { shape: [...outer, L, Ev], data: [] };
  for (const block of indices(outer)) {
    const head = block.at(-1), slope = config.alibi ? slopeOf(head, H) : 0;
    const row = (tensor, t) => at(tensor, [...outer, ...tensor.shape.slice(-2)], [...block, t, 0]);
    const masked = (mask, i, j) => mask.data[at(mask, [...outer, L, S], [...block, i, j])];
    for (let i = 0; i < L; i++) {
      const scores = Array.from({ length: S }, (_, j) => {
        const distance = j - (config.first_position + i);
        if (hidden(distance, config) || (allow && !masked(allow, i, j))) return -Infinity;
        let score = config.scale * dot(query.data, row(query, i), key.data, row(key, j), E);
        if (config.softcap) score = config.softcap * Math.tanh(score / config.softcap);
        return score - slope * Math.abs(distance) + (bias ? masked(bias, i, j) : 0);
      });
      const weights = softmax(scores, sinks ? sinks.data[head] : -Infinity, config.empty_row);
      const starts = weights.map((_, j) => row(value, j));
      for (let e = 0; e < Ev; e++) {
        output.data.push(weights.reduce((sum, weight, j) => sum + weight * value.data[starts[j] + e], 0));
      }
    }
  }
  return output;
}

// at converts an index into the shape full to an offset in a smaller tensor. It broadcasts dimensions
// of size 1, and repeats each key head for its query heads.
function at({ shape }, full, index) {
  const skipped = full.length - shape.length;
  return shape.reduce((offset, size, d) => {
    return offset * size + Math.floor((index[skipped + d] * size) / full[skipped + d]);
  }, 0);
}

// indices returns all indices of a shape, the last dimension fastest.
function indices(shape) {
  return shape.reduce((all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])), [[]]);
}

// broadcast returns the larger size of each dimension of two shapes.
function broadcast(a, b) {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => Math.max(a.at(i - rank) ?? 1, b.at(i - rank) ?? 1));
}

function hidden(distance, { causality, window }) {
  return (causality !== "none" && distance > 0) || (window !== null && Math.abs(distance) >= window);
}

function softmax(scores, sink, emptyRow) {
  const largest = Math.max(...scores, sink);
  if (Math.max(...scores) === -Infinity) return scores.map(() => (emptyRow === "nan" ? NaN : 0));
  const powers = scores.map((score) => Math.exp(score - largest));
  const total = powers.reduce((a, b) => a + b, Math.exp(sink - largest));
  return powers.map((power) => power / total);
}

function slopeOf(h, H) {
  const n = 2 ** Math.floor(Math.log2(H));
  return h < n ? 2 ** ((-8 * (h + 1)) / n) : 2 ** ((-4 * (2 * (h - n) + 1)) / n);
}

function dot(a, i, b, j, length) {
  let sum = 0;
  for (let e = 0; e < length; e++) sum += a[i + e] * b[j + e];
  return sum;
}

// read parses an .npy file: magic and version, header length, header, numbers.
function read(file) {
  const bytes = readFileSync(file), length = bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, 10 + length);
  const [, descr] = /'descr': '([^']*)'/.exec(header), [, shape] = /'shape': \(([^)]*)\)/.exec(header);
  const numbers = Uint8Array.from(bytes.subarray(10 + length)); // a copy, aligned
  return { shape: (shape.match(/\d+/g) ?? []).map(Number), data: new arrays[descr](numbers.buffer) };
}

function write(file, { shape, data }, descr) {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`.padEnd(117) + "\n";
  const front = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header}`, "latin1");
  writeFileSync(file, Buffer.concat([front, Buffer.from(arrays[descr].from(data).buffer)]));
}

await serve();
