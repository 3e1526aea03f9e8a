// How one number of a layer's output is made from the numbers that the layer reads, as in cnn/explore/arithmetic.py.
// Only terms are made here; their sum is compared with the engine's number.
import { nodeOf, type Sample, type Weights } from "./data";
import { affine, concat, curve, flatten, join, linear, norm, softmax } from "./explain_rows";
import { adaptivePool, convolution, pool } from "./explain_windows";
import { shapeOf } from "./numbers";
import type { Route } from "./state";
import type { LayerNode } from "./types";
import type { Explained, View } from "./view";

const EXPLANATIONS: Record<string, (view: View) => Explained | null> = {
  Conv2d: convolution,
  Linear: linear,
  MaxPool2d: pool,
  AvgPool2d: pool,
  AdaptiveMaxPool2d: adaptivePool,
  AdaptiveAvgPool2d: adaptivePool,
  BatchNorm1d: norm,
  BatchNorm2d: norm,
  Affine: affine,
  Softmax: softmax,
  Flatten: flatten,
  ReLU: curve,
  ReLU6: curve,
  LeakyReLU: curve,
  Hardtanh: curve,
  Hardsigmoid: curve,
  Hardswish: curve,
  SiLU: curve,
  Tanh: curve,
  Sigmoid: curve,
  Identity: curve,
  Dropout: curve,
  Dropout2d: curve,
  Sum: join,
  Residual: join,
  Add: join,
  Product: join,
  Multiply: join,
  Concat: concat,
  Concatenate: concat,
};

export const index = (node: LayerNode, route: Route): number[] => {
  const { flat } = shapeOf(node.shape);
  if (flat) return [route.channel];
  return node.shape.length === 2 ? [route.channel, route.x] : [route.channel, route.y, route.x];
};

/** Whether an explanation fails only because numbers that it needs were left out. */
export const isLeftOut = (sample: Sample, weights: Weights, node: LayerNode): boolean =>
  node.arithmetic &&
  (node.reads.some((name) => !sample.output(name)) || Object.values(node.tensors).some((name) => !weights.get(name)));

/** How the chosen number is made; null if its kind of layer has no such view, or numbers were left out. */
export function explain(sample: Sample, weights: Weights, node: LayerNode, at: number[]): Explained | null {
  const inputs = node.reads.map((name) => ({ node: nodeOf(name)!, values: sample.output(name) }));
  const known = inputs.flatMap(({ node, values }) => (values ? [{ node, values }] : []));
  if (known.length === 0 || known.length !== inputs.length || node.shape.length > 3) return null;
  const view = { node, index: at, inputs: known, tensor: (name: string) => weights.get(node.tensors[name]) };
  return (node.arithmetic && EXPLANATIONS[node.kind]?.(view)) || null;
}
