// The arithmetic of layers with windows: convolution and pooling.
import { activation, pair, weight, type Explained, type Pads, type Plane, type View, type Window } from "./view";
import { shapeOf, sumOf } from "./numbers";

const NONE: Pads = [
  [0, 0],
  [0, 0],
];
const pads = (view: View): Pads => (view.node.settings["pads"] as Pads | undefined) ?? NONE;

function planeOf(view: View, channel: number): Plane {
  const { node, values } = view.inputs[0]!;
  const { rows, columns } = shapeOf(node.shape);
  const plane = values.subarray(channel * rows * columns, (channel + 1) * rows * columns);
  return { name: node.name, values: plane, rows, columns, pads: pads(view) };
}

function cut(plane: Plane, channel: number, top: number, left: number, size: number[], step: [number, number]): Window {
  const [rows, columns] = [size[0]!, size[1]!];
  const values: number[] = [];
  const isPadding: boolean[] = [];
  for (let u = 0; u < rows; u++) {
    for (let v = 0; v < columns; v++) {
      const [i, j] = [top + u * step[0], left + v * step[1]];
      const outside = i < 0 || j < 0 || i >= plane.rows || j >= plane.columns;
      isPadding.push(outside);
      values.push(outside ? 0 : plane.values[i * plane.columns + j]!);
    }
  }
  return { channel, top, left, step, rows, columns, values, isPadding };
}

function slice(start: number, size: number, step: number): string {
  return `${start}:${start + step * (size - 1) + 1}${step === 1 ? "" : `:${step}`}`;
}

export function convolution(view: View): Explained | null {
  const [k, i, j] = view.index as [number, number, number];
  const { settings, tensors } = view.node;
  const kernel = view.tensor("weight");
  const bias = "bias" in tensors ? view.tensor("bias") : null;
  if (!kernel || ("bias" in tensors && !bias) || !("pads" in settings)) return null;
  const size = pair(settings["kernel_size"]);
  const [stride, dilation] = [pair(settings["stride"]), pair(settings["dilation"])];
  const groups = Number(settings["groups"]);
  const [[top, bottom], [left, right]] = pads(view);
  const perGroup = Number(settings["in_channels"]) / groups;
  const first = Math.floor(k / (Number(settings["out_channels"]) / groups)) * perGroup;
  const windows: Window[] = [];
  const kernels: number[][] = [];
  const plane: Plane[] = [];
  const area = size[0] * size[1];
  for (let c = 0; c < perGroup; c++) {
    plane.push(planeOf(view, first + c));
    windows.push(cut(plane[c]!, first + c, i * stride[0] - top, j * stride[1] - left, size, dilation));
    const start = (k * perGroup + c) * area;
    kernels.push([...kernel.subarray(start, start + area)]);
  }
  const products = windows.map((window, c) => window.values.map((value, n) => value * kernels[c]![n]!));
  const added = bias ? bias[k]! : null;
  const channels = groups > 1 ? `[0, ${first}:${first + perGroup}]` : "[0]";
  const input = view.inputs[0]!.node.name;
  const where = `${slice(i * stride[0], size[0], dilation[0])}, ${slice(j * stride[1], size[1], dilation[1])}`;
  const ending = bias ? ` + ${weight(view.node, "bias")}[${k}])` : ")";
  const code = [
    `a = np.pad(${activation(input)}${channels}, ((0, 0), (${top}, ${bottom}), (${left}, ${right})))`,
    "w = model.state_dict()",
    `print((a[:, ${where}] * ${weight(view.node, "weight")}[${k}]).sum()${ending}`,
  ];
  return {
    details: { kind: "convolution", windows, kernels, sums: products.map(sumOf), bias: added, plane },
    terms: [...products.flat(), ...(added === null ? [] : [added])],
    code,
  };
}

function pooled(window: Window, plane: Plane, area: number | null): Explained {
  const inside = window.values.map((_, n) => n).filter((n) => !window.isPadding[n]);
  // of equal numbers the first wins, as in the layer
  const won = inside.reduce((a, b) => (window.values[b]! > window.values[a]! ? b : a), inside[0]!);
  const range = (axis: 0 | 1): string => {
    const n = axis === 0 ? window.rows : window.columns;
    const step = window.step[axis];
    let start = axis === 0 ? window.top : window.left;
    const stop = Math.min(start + step * (n - 1) + 1, axis === 0 ? plane.rows : plane.columns);
    while (start < 0) start += step;
    return `${start}:${stop}${step === 1 ? "" : `:${step}`}`;
  };
  const code = [`a = ${activation(plane.name)}[0, ${window.channel}, ${range(0)}, ${range(1)}]`];
  code.push(area === null ? "print(a.max())" : `print(a.sum() / ${area})`);
  const terms = area === null ? [window.values[won]!] : inside.map((n) => window.values[n]! / area);
  return { details: { kind: "pool", window, area, won, plane: [plane] }, terms, code };
}

export function pool(view: View): Explained | null {
  const [c, i, j] = view.index as [number, number, number];
  const { settings, kind } = view.node;
  if (!("pads" in settings)) return null;
  const size = pair(settings["kernel_size"]);
  const stride = pair(settings["stride"] ?? settings["kernel_size"]);
  const dilation = pair(settings["dilation"] ?? 1);
  const all = pads(view);
  const plane = planeOf(view, c);
  const [top, left] = [i * stride[0] - all[0][0], j * stride[1] - all[1][0]];
  const window = cut(plane, c, top, left, size, dilation);
  if (kind === "MaxPool2d") return pooled(window, plane, null);
  const side = (start: number, n: number, pixels: number, [before, after]: [number, number]): number =>
    settings["count_include_pad"]
      ? Math.min(start + n, pixels + after) - Math.max(start, -before)
      : Math.min(start + n, pixels) - Math.max(start, 0);
  const area = side(top, size[0], plane.rows, all[0]) * side(left, size[1], plane.columns, all[1]);
  return pooled(window, plane, area);
}

/** One of a fixed number of regions: from floor(i n / count) to ceil((i + 1) n / count). */
export function adaptivePool(view: View): Explained | null {
  const [c, i, j] = view.index as [number, number, number];
  const plane = planeOf(view, c);
  const { rows, columns } = shapeOf(view.node.shape);
  const region = (n: number, count: number, at: number): [number, number] => [
    Math.floor((at * n) / count),
    Math.ceil(((at + 1) * n) / count),
  ];
  const [top, bottom] = region(plane.rows, rows, i);
  const [left, right] = region(plane.columns, columns, j);
  const size = [bottom - top, right - left];
  const window = cut(plane, c, top, left, size, [1, 1]);
  return pooled(window, plane, view.node.kind === "AdaptiveAvgPool2d" ? size[0]! * size[1]! : null);
}
