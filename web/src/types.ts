// The header of a page, as cnn.explore.pack and cnn.explore.page write it; docs/decisions/015-explore.md.

export interface Field {
  size: [number, number];
  stride: [number, number];
  offset: [number, number];
}

export interface LayerNode {
  name: string;
  kind: string;
  text: string;
  reads: string[];
  shape: number[];
  formulas: Record<string, string>;
  parameters: number;
  multiply_adds: number;
  field: Field | null;
  dead: number | null;
  /** Whether it is a layer of the library whose arithmetic is explained, and not another of the same name. */
  arithmetic: boolean;
  settings: Record<string, unknown>;
  tensors: Record<string, string>;
}

export interface Place {
  offset: number;
  shape: number[];
}

export interface Difference {
  tensor: string;
  index: number[];
  gradient: number;
  step: number;
  above: number;
  below: number;
  slope: number;
}

export interface ImageEntry {
  name: string;
  why?: string;
  label: unknown;
  class: number | null;
  predicted: number | null;
  probabilities: number[] | null;
  loss: number;
  complete: boolean;
  outputs: (number | null)[];
  grads: (number | null)[];
  maps: Record<string, Place>;
  random_maps: Record<string, Place>;
  maps_left_out: string[];
  difference: Difference | null;
  pixels: Place | null;
  chunk: number;
}

export interface Header {
  format: number;
  model: {
    text: string;
    classes: string[] | null;
    preprocessing: Record<string, unknown> | null;
    loss: string;
  };
  nodes: LayerNode[];
  logits: string;
  tensors: Record<string, { offset: number | null; shape: number[] }>;
  images: ImageEntry[];
  left_out: { images: number; activations: number; layers: string[]; gradients: string[]; tensors: string[] };
  chunks: { offset: number; length: number; size: number }[];
  page: {
    title: string;
    notes: string[];
    confusion: number[][] | null;
    history: Record<string, number>[];
    /** Some images of each true class that were taken for each other class, and the chunk with their pixels. */
    mistakes: { label: number; predicted: number; images: Place[] }[];
    chunk: number;
  };
}
