// One number of a layer's output, what its layer reads, and what is said of how it is made.
import type { LayerNode } from "./types";

export interface Plane {
  name: string;
  values: Float32Array;
  rows: number;
  columns: number;
  pads: Pads;
}

/** How many zeros are around an image: above and below, left and right. */
export type Pads = [[number, number], [number, number]];

/** One number of an output, and what its layer reads. */
export interface View {
  node: LayerNode;
  index: number[];
  inputs: { node: LayerNode; values: Float32Array }[];
  tensor: (name: string) => Float32Array | null;
}

/** A window of one channel of the input; where it reaches outside, the numbers are padding. */
export interface Window {
  channel: number;
  top: number;
  left: number;
  step: [number, number];
  rows: number;
  columns: number;
  values: number[];
  isPadding: boolean[];
}

export type Details =
  | { kind: "convolution"; windows: Window[]; kernels: number[][]; sums: number[]; bias: number | null; plane: Plane[] }
  | { kind: "pool"; window: Window; area: number | null; won: number; plane: Plane[] }
  | { kind: "linear"; inputs: number[]; weights: number[]; products: number[]; bias: number | null }
  | {
      kind: "norm";
      from: LayerNode[];
      places: number[][];
      input: number;
      mean: number;
      variance: number;
      eps: number;
      weight: number;
      bias: number;
    }
  | { kind: "affine"; from: LayerNode[]; places: number[][]; input: number; weight: number; bias: number }
  | { kind: "curve"; from: LayerNode[]; places: number[][]; input: number; text: string }
  | { kind: "softmax"; inputs: number[]; exponentials: number[]; sum: number; at: number; max: number }
  | { kind: "copy"; from: LayerNode[]; places: number[][] }
  | { kind: "join"; from: LayerNode[]; places: number[][]; inputs: number[]; sign: string };

export type Of<K extends Details["kind"]> = Extract<Details, { kind: K }>;

export interface Explained {
  details: Details;
  terms: number[];
  code: string[];
}

export const pair = (value: unknown): [number, number] =>
  Array.isArray(value) ? [Number(value[0]), Number(value[1])] : [Number(value), Number(value)];

export const activation = (name: string): string =>
  name === "input" ? "x" : `model.activations(x)[${JSON.stringify(name)}]`;
export const at = (name: string, index: number[]): string => `${activation(name)}[${[0, ...index].join(", ")}]`;
export const weight = (node: LayerNode, name: string): string => `w[${JSON.stringify(node.tensors[name])}]`;
