// The arithmetic of layers without windows.
import { activation, at, weight, type Explained, type View } from "./view";
import { count } from "./data";
import { sumOf } from "./numbers";

/** The position of an index in an array of this shape. */
function position(index: number[], shape: number[]): number {
  return index.reduce((sum, i, axis) => sum * shape[axis]! + i, 0);
}

export function linear(view: View): Explained | null {
  const [k = 0] = view.index;
  const { node, values } = view.inputs[0]!;
  const [weights, bias] = [view.tensor("weight"), view.tensor("bias")];
  if (view.index.length !== 1 || node.shape.length !== 1 || !weights) return null;
  const hasBias = "bias" in view.node.tensors;
  if (hasBias && !bias) return null;
  const row = [...weights.subarray(k * values.length, (k + 1) * values.length)];
  const products = row.map((w, i) => w * values[i]!);
  const added = bias ? bias[k]! : null;
  const ending = bias ? ` + ${weight(view.node, "bias")}[${k}])` : ")";
  return {
    details: { kind: "linear", inputs: [...values], weights: row, products, bias: added },
    terms: [...products, ...(added === null ? [] : [added])],
    code: [
      `a = ${activation(node.name)}[0]`,
      "w = model.state_dict()",
      `print(${weight(view.node, "weight")}[${k}] @ a${ending}`,
    ],
  };
}

export function norm(view: View): Explained | null {
  const [c = 0] = view.index;
  const { node, values } = view.inputs[0]!;
  const [means, variances] = [view.tensor("running_mean"), view.tensor("running_var")];
  if (!means || !variances) return null;
  const [weights, biases] = [view.tensor("weight"), view.tensor("bias")];
  const eps = Number(view.node.settings["eps"]);
  const input = values[position(view.index, node.shape)]!;
  const [mean, variance, w, b] = [means[c]!, variances[c]!, weights ? weights[c]! : 1, biases ? biases[c]! : 0];
  const scale = w / Math.sqrt(variance + eps);
  const names = ["running_mean", "running_var"].map((name) => `${weight(view.node, name)}[${c}]`);
  return {
    details: { kind: "norm", from: [node], places: [view.index], input, mean, variance, eps, weight: w, bias: b },
    terms: [scale * input, -scale * mean, ...(biases ? [b] : [])],
    code: [
      "w = model.state_dict()",
      `z = (${at(node.name, view.index)} - ${names[0]}) / np.sqrt(${names[1]} + ${eps})`,
      weights ? `print(z * ${weight(view.node, "weight")}[${c}] + ${weight(view.node, "bias")}[${c}])` : "print(z)",
    ],
  };
}

export function softmax(view: View): Explained | null {
  const { node, values } = view.inputs[0]!;
  const dim = Number(view.node.settings["dim"] ?? 1);
  const axis = (dim < 0 ? dim + node.shape.length + 1 : dim) - 1;
  if (axis < 0) return null;
  const step = count(node.shape.slice(axis + 1));
  const start = position(view.index, node.shape) - view.index[axis]! * step;
  const inputs = Array.from({ length: node.shape[axis]! }, (_, k) => values[start + k * step]!);
  const max = Math.max(...inputs);
  const exponentials = inputs.map((z) => Math.exp(z - max));
  const sum = sumOf(exponentials);
  const where = view.index.map((n, i) => (i === axis ? ":" : n)).join(", ");
  const k = view.index[axis]!;
  return {
    details: { kind: "softmax", inputs, exponentials, sum, at: k, max },
    terms: [exponentials[k]! / sum],
    code: [`z = ${activation(node.name)}[0, ${where}]`, "e = np.exp(z - z.max())", `print(e[${k}] / e.sum())`],
  };
}

function copied(view: View, input: number, index: number[]): Explained {
  const { node, values } = view.inputs[input]!;
  return {
    details: { kind: "copy", from: [node], places: [index] },
    terms: [values[position(index, node.shape)]!],
    code: [`print(${at(node.name, index)})`],
  };
}

export function flatten(view: View): Explained | null {
  const { shape } = view.inputs[0]!.node;
  let rest = view.index[0]!;
  if (view.index.length !== 1) return null;
  const index: number[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]!);
    rest = Math.floor(rest / shape[axis]!);
  }
  return copied(view, 0, index);
}

export function concat(view: View): Explained | null {
  let [channel = 0, ...rest] = view.index;
  for (let branch = 0; branch < view.inputs.length; branch++) {
    const channels = view.inputs[branch]!.node.shape[0]!;
    if (channel < channels) return copied(view, branch, [channel, ...rest]);
    channel -= channels;
  }
  return null;
}

/** What makes one number from a, and its text, with the settings of the layer. */
interface Curve {
  made: (a: number, settings: (name: string) => number) => number;
  text: string;
}

const clip = (a: number, low: number, high: number): number => Math.min(Math.max(a, low), high);

const CURVES: Record<string, Curve> = {
  ReLU: { made: (a) => Math.max(a, 0), text: "max(a, 0)" },
  ReLU6: { made: (a) => clip(a, 0, 6), text: "min(max(a, 0), 6)" },
  LeakyReLU: { made: (a, of) => (a > 0 ? a : of("negative_slope") * a), text: "a if a > 0 else {negative_slope} * a" },
  Hardtanh: { made: (a, of) => clip(a, of("min_val"), of("max_val")), text: "min(max(a, {min_val}), {max_val})" },
  Hardsigmoid: {
    made: (a, of) => clip(of("alpha") * a + of("beta"), 0, 1),
    text: "min(max({alpha} * a + {beta}, 0), 1)",
  },
  Hardswish: { made: (a) => (a * clip(a + 3, 0, 6)) / 6, text: "a * min(max(a + 3, 0), 6) / 6" },
  SiLU: { made: (a) => a / (1 + Math.exp(-a)), text: "a / (1 + np.exp(-a))" },
  Tanh: { made: Math.tanh, text: "np.tanh(a)" },
  Sigmoid: { made: (a) => 1 / (1 + Math.exp(-a)), text: "1 / (1 + np.exp(-a))" },
};
const SAME: Curve = { made: (a) => a, text: "a" };

export function curve(view: View): Explained {
  const { node, values } = view.inputs[0]!;
  const { kind, settings } = view.node;
  const input = values[position(view.index, node.shape)]!;
  const { made, text } = CURVES[kind] ?? SAME;
  const filled = text.replace(/\{(\w+)\}/g, (_, name: string) => String(settings[name]));
  return {
    details: { kind: "curve", from: [node], places: [view.index], input, text: filled },
    terms: [made(input, (name) => Number(settings[name]))],
    code: [`a = ${at(node.name, view.index)}`, `print(${filled})`],
  };
}

/** The number, scaled and shifted by those of its channel. */
export function affine(view: View): Explained | null {
  const { node, values } = view.inputs[0]!;
  const [weights, biases] = [view.tensor("weight"), view.tensor("bias")];
  if (!weights || !biases) return null;
  const [c = 0] = view.index;
  const input = values[position(view.index, node.shape)]!;
  const [w, b] = [weights[c]!, biases[c]!];
  const names = ["weight", "bias"].map((name) => `${weight(view.node, name)}[${c}]`);
  return {
    details: { kind: "affine", from: [node], places: [view.index], input, weight: w, bias: b },
    terms: [w * input, b],
    code: ["w = model.state_dict()", `print(${at(node.name, view.index)} * ${names[0]} + ${names[1]})`],
  };
}

/** Branches that are added or multiplied; a branch of one pixel counts for all. */
export function join(view: View): Explained {
  const sign = ["Product", "Multiply"].includes(view.node.kind) ? "*" : "+";
  const places = view.inputs.map(({ node }) => view.index.map((i, axis) => Math.min(i, node.shape[axis]! - 1)));
  const inputs = view.inputs.map(({ node, values }, n) => values[position(places[n]!, node.shape)]!);
  const names = view.inputs.map(({ node }) => (node.name === "input" ? "x" : `a[${JSON.stringify(node.name)}]`));
  const texts = names.map((name, n) => `${name}[${[0, ...places[n]!].join(", ")}]`);
  return {
    details: { kind: "join", from: view.inputs.map(({ node }) => node), places, inputs, sign },
    terms: sign === "+" ? inputs : [inputs.reduce((a, b) => a * b, 1)],
    code: ["a = model.activations(x)", `print(${texts.join(` ${sign} `)})`],
  };
}
