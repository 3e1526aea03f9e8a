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

export interface Scale {
  signed: boolean;
  limit: number;
}

export const scaleOf = ({ min, max }: Stats): Scale => ({
  signed: min < 0,
  limit: Math.max(Math.abs(min), Math.abs(max)),
});

export function colour(value: number, scale: Scale): Colour {
  const share = scale.limit > 0 ? Math.min(1, Math.max(-1, value / scale.limit)) : 0;
  const stops = scale.signed ? SIGNED : UNSIGNED;
  const at = (scale.signed ? (share + 1) / 2 : Math.max(0, share)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  const [a, b] = [stops[i]!, stops[i + 1]!];
  const mix = (k: 0 | 1 | 2): number => Math.round(a[k] + (at - i) * (b[k] - a[k]));
  return [mix(0), mix(1), mix(2)];
}
