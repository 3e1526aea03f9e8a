// Colours for numbers. Lightness rises with the number, so that signs are told apart without colour.
import type { Stats } from "./numbers";

type Colour = [number, number, number];

// the same stops are in style.css, for the legends
const SIGNED: Colour[] = [
  [9, 34, 92],
  [44, 96, 168],
  [126, 132, 142],
  [232, 170, 92],
  [255, 243, 214],
];
const UNSIGNED: Colour[] = [
  [20, 24, 38],
  [78, 62, 92],
  [168, 92, 84],
  [232, 158, 88],
  [255, 243, 214],
];
const LEVELS = 512;

export interface Scale {
  signed: boolean;
  limit: number;
}

export const scaleOf = ({ min, max }: Stats): Scale => ({
  signed: min < 0,
  limit: Math.max(Math.abs(min), Math.abs(max)),
});

/** Colours between the stops, as canvases store them: alpha, blue, green, red. */
function palette(stops: Colour[]): Uint32Array {
  return Uint32Array.from({ length: LEVELS + 1 }, (_, level) => {
    const at = (level / LEVELS) * (stops.length - 1);
    const i = Math.min(stops.length - 2, Math.floor(at));
    const [a, b] = [stops[i]!, stops[i + 1]!];
    const mix = (k: 0 | 1 | 2): number => Math.round(a[k] + (at - i) * (b[k] - a[k]));
    return ((255 << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0)) >>> 0;
  });
}

const palettes = { signed: palette(SIGNED), unsigned: palette(UNSIGNED) };
const scratch = document.createElement("canvas");

export interface Area {
  left: number;
  top: number;
  /** Pixels of a cell. */
  side: number;
}

/** Draw rows and columns of numbers as cells of one colour each. */
export function paint(
  context: CanvasRenderingContext2D,
  values: ArrayLike<number>,
  columns: number,
  scale: Scale,
  { left, top, side }: Area,
): void {
  const rows = Math.ceil(values.length / columns);
  scratch.width = columns;
  scratch.height = rows;
  const small = scratch.getContext("2d")!;
  const image = small.createImageData(columns, rows);
  const cells = new Uint32Array(image.data.buffer);
  const colours = scale.signed ? palettes.signed : palettes.unsigned;
  for (let k = 0; k < values.length; k++) {
    const share = scale.limit > 0 ? values[k]! / scale.limit : 0;
    const level = Math.round(LEVELS * (scale.signed ? (share + 1) / 2 : share));
    cells[k] = colours[Math.min(LEVELS, Math.max(0, level))]!;
  }
  small.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(scratch, left, top, columns * side, rows * side);
}
