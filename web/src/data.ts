// Reads the data of the page: the header, and chunks of the block, inflated when they are needed.
import type { Header, ImageEntry, LayerNode, Place } from "./types";

const textOf = (id: string): string => document.getElementById(id)?.textContent ?? "";

export const header: Header = JSON.parse(textOf("header"));
const block = textOf("block");
const indexOfNode = new Map(header.nodes.map((node, i) => [node.name, i]));

/** How many images the page came with; those that are added while it is open come after them. */
export const given = header.images.length;
const chunksGiven = header.chunks.length;
const added = new Map<number, Uint8Array<ArrayBuffer>>();

export const nodeIndex = (name: string): number => indexOfNode.get(name) ?? -1;
export const nodeOf = (name: string): LayerNode | undefined => header.nodes[nodeIndex(name)];

const inflated = new Map<number, Promise<ArrayBuffer>>();

/** The bytes of one chunk. Base64 has 4 letters for 3 bytes, so that a part of it can be read alone. */
function deflatedBytes(i: number): Uint8Array<ArrayBuffer> {
  const own = added.get(i);
  if (own) return own;
  const { offset, length } = header.chunks[i]!;
  const first = Math.floor(offset / 3);
  const text = atob(block.slice(4 * first, 4 * Math.ceil((offset + length) / 3)));
  const bytes = new Uint8Array(length);
  const skip = offset - 3 * first;
  for (let at = 0; at < length; at++) bytes[at] = text.charCodeAt(skip + at);
  return bytes;
}

export function chunk(i: number): Promise<ArrayBuffer> {
  let found = inflated.get(i);
  if (!found) {
    const stream = new Blob([deflatedBytes(i)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    found = new Response(stream).arrayBuffer();
    inflated.set(i, found);
    if (inflated.size > 4) inflated.delete([...inflated.keys()].find((key) => key > 0 && key !== i)!);
  }
  return found;
}

export const count = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

function floats(buffer: ArrayBuffer, offset: number | null | undefined, shape: number[]): Float32Array | null {
  return offset === null || offset === undefined ? null : new Float32Array(buffer, offset, count(shape));
}

/** One image with its activations and gradients. */
export class Sample {
  private readonly arrays = new Map<number, Float32Array>();

  constructor(
    readonly index: number,
    readonly entry: ImageEntry,
    private readonly buffer: ArrayBuffer,
  ) {}

  output(name: string): Float32Array | null {
    return this.array(this.entry.outputs, name);
  }

  grad(name: string): Float32Array | null {
    return this.array(this.entry.grads, name);
  }

  saliency(place: Place): Float32Array {
    return new Float32Array(this.buffer, place.offset, count(place.shape));
  }

  private array(offsets: (number | null)[], name: string): Float32Array | null {
    const i = nodeIndex(name);
    const offset = offsets[i];
    if (offset === null || offset === undefined) return null;
    const known = this.arrays.get(offset); // the same array each time, so that what is drawn stays
    if (known?.length === count(header.nodes[i]!.shape)) return known;
    const found = new Float32Array(this.buffer, offset, count(header.nodes[i]!.shape));
    this.arrays.set(offset, found);
    return found;
  }
}

export interface Pixels {
  data: Uint8Array;
  shape: number[];
}

const pixelCache = new Map<number, Pixels | null>();

export async function sampleOf(i: number): Promise<Sample> {
  const entry = header.images[i]!;
  return new Sample(i, entry, await chunk(entry.chunk));
}

/** The image as it was given; null if inputs were given. */
export async function pixelsOf(i: number): Promise<Pixels | null> {
  if (!pixelCache.has(i)) {
    const { pixels, chunk: n } = header.images[i]!;
    const data = pixels && new Uint8Array(await chunk(n)).slice(pixels.offset, pixels.offset + count(pixels.shape));
    pixelCache.set(i, pixels && data ? { data, shape: pixels.shape } : null);
  }
  return pixelCache.get(i) ?? null;
}

/** Put an image into a place after those that the page came with; one that is there already is replaced. */
export function setImage(i: number, entry: Omit<ImageEntry, "chunk">, deflated: Uint8Array<ArrayBuffer>): void {
  const n = chunksGiven + i - given;
  added.set(n, deflated);
  inflated.delete(n);
  pixelCache.delete(i);
  header.images[i] = { ...entry, chunk: n };
}

/** Images that are on the page only as examples of a mistake. */
export async function mistakePixels(places: Place[]): Promise<Pixels[]> {
  const buffer = await chunk(header.page.chunk);
  return places.map(({ offset, shape }) => ({ data: new Uint8Array(buffer, offset, count(shape)), shape }));
}

/** The weights and running statistics, by their names in the state_dict. */
export class Weights {
  constructor(private readonly buffer: ArrayBuffer) {}

  get(name: string | undefined): Float32Array | null {
    const place = name === undefined ? undefined : header.tensors[name];
    return place ? floats(this.buffer, place.offset, place.shape) : null;
  }
}

export const weightsOf = async (): Promise<Weights> => new Weights(await chunk(0));

/** What the net reads, in a word. */
export const SAMPLE = header.nodes[0]!.shape.length === 3 ? "image" : "sample";

/** Whether an image belongs to one of the classes; with a loss such as BCEWithLogitsLoss each is a question of its own. */
export const isOneOf = header.model.loss === "cross-entropy";

export const className = (k: number | null | undefined): string =>
  k === null || k === undefined ? "" : (header.model.classes?.[k] ?? `class ${k}`);
