// Numbers as text, and what is known of many numbers.

/** A number with at most so many digits; what is shown is the number, correctly rounded. */
export function fmt(value: number, digits = 6): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-4 && size < 10 ** digits ? value.toPrecision(digits) : value.toExponential(digits - 1);
  const [mantissa = "", exponent] = text.split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return (exponent ? `${short}e${exponent.replace("+", "")}` : short).replaceAll("-", "−");
}

export const short = (value: number): string => fmt(value, 4);
export const whole = (value: number): string => value.toLocaleString("en");
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export interface Stats {
  min: number;
  max: number;
  mean: number;
  norm: number;
}

export function stats(values: ArrayLike<number>): Stats {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (v < min) min = v;
    if (v > max) max = v;
    sum += v;
    squares += v * v;
  }
  return { min, max, mean: sum / values.length, norm: Math.sqrt(squares) };
}

export interface Bin {
  from: number;
  to: number;
  count: number;
}

export function histogram(values: ArrayLike<number>, bins = 24): Bin[] {
  const { min, max } = stats(values);
  if (!(max > min)) return [{ from: min, to: max, count: values.length }];
  const width = (max - min) / bins;
  const found = Array.from({ length: bins }, (_, i) => ({
    from: min + i * width,
    to: min + (i + 1) * width,
    count: 0,
  }));
  for (let i = 0; i < values.length; i++) found[Math.min(bins - 1, Math.floor((values[i]! - min) / width))]!.count++;
  return found;
}

/** How the output of a layer is drawn: channels of rows and columns, or one row of features that is wrapped. */
export interface Shape {
  channels: number;
  rows: number;
  columns: number;
  flat: boolean;
}

export function shapeOf(shape: number[]): Shape {
  const [first = 1, second = 1, ...rest] = shape;
  if (shape.length <= 1) return { channels: first, rows: 1, columns: 1, flat: true };
  if (shape.length === 2) return { channels: first, rows: 1, columns: second, flat: false };
  return { channels: first, rows: second, columns: rest.reduce((a, b) => a * b, 1), flat: false };
}

export const wrapped = (n: number): number => (n <= 16 ? n : n <= 128 ? 16 : 32);

export const sumOf = (terms: number[]): number => terms.reduce((a, b) => a + b, 0);
