// The gradient in one weight: the sum of what it saw times the gradient in what it made; and a finite difference.
import type { VNode } from "preact";
import { SumCheck } from "./check";
import { LayerField, NumberField } from "./chooser";
import { header, nodeOf, type Sample, type Weights } from "./data";
import { Formula, Frac, I, N, O, Sub, Sum } from "./formula";
import { HeatMap } from "./maps";
import { fmt, shapeOf, sumOf } from "./numbers";
import { fragment, go, type Route } from "./state";
import type { Difference, LayerNode } from "./types";
import { pair } from "./view";

interface Made {
  seen: Float32Array;
  grad: Float32Array;
  rows: number;
  columns: number;
}

export const hasWeight = (node: LayerNode): boolean =>
  node.arithmetic && ["Conv2d", "Linear"].includes(node.kind) && node.shape.length !== 2;

/** What one weight saw at each position, and the gradient in what it made there. */
export function seenAndMade(sample: Sample, node: LayerNode, index: number[]): Made | null {
  const input = nodeOf(node.reads[0] ?? "");
  if (!input) return null;
  const [x, g] = [sample.output(input.name), sample.grad(node.name)];
  const [k = 0, c = 0, u = 0, v = 0] = index;
  if (!x || !g) return null;
  if (node.kind === "Linear") return { seen: x.slice(c, c + 1), grad: g.slice(k, k + 1), rows: 1, columns: 1 };
  const { settings } = node;
  const [stride, dilation] = [pair(settings["stride"]), pair(settings["dilation"])];
  const [[top], [left]] = settings["pads"] as [[number, number], [number, number]];
  const groups = Number(settings["groups"]);
  const group = Math.floor(k / (Number(settings["out_channels"]) / groups));
  const channel = c + group * (Number(settings["in_channels"]) / groups);
  const [from, to] = [shapeOf(input.shape), shapeOf(node.shape)];
  const seen = new Float32Array(to.rows * to.columns);
  for (let i = 0; i < to.rows; i++) {
    for (let j = 0; j < to.columns; j++) {
      const [y, z] = [stride[0] * i + dilation[0] * u - top, stride[1] * j + dilation[1] * v - left];
      if (y < 0 || z < 0 || y >= from.rows || z >= from.columns) continue;
      seen[i * to.columns + j] = x[(channel * from.rows + y) * from.columns + z]!;
    }
  }
  const size = to.rows * to.columns;
  return { seen, grad: g.slice(k * size, (k + 1) * size), rows: to.rows, columns: to.columns };
}

function Slope({ found }: { found: Difference }): VNode {
  const node = header.nodes.find((each) => each.tensors["weight"] === found.tensor);
  return (
    <>
      <h3>Is that right? A finite difference</h3>
      <p>
        The net computed the loss twice, in float64, with weight{" "}
        {node ? (
          <a href={fragment({ layer: node.name, weight: found.index, section: "one-weight" })}>
            {found.tensor} [{found.index.join(", ")}]
          </a>
        ) : (
          <>
            {found.tensor} [{found.index.join(", ")}]
          </>
        )}{" "}
        a little larger and a little smaller. It is the weight of this layer with the largest gradient.
      </p>
      <Formula>
        <Frac
          over={
            <>
              <I>L</I>
              <O>(</O>
              <I>w</I>
              <O>+</O>
              <I>h</I>
              <O>)</O>
              <O>−</O>
              <I>L</I>
              <O>(</O>
              <I>w</I>
              <O>−</O>
              <I>h</I>
              <O>)</O>
            </>
          }
          under={
            <>
              <mn>2</mn>
              <I>h</I>
            </>
          }
        />
        <O>=</O>
        <N value={found.slope} />
      </Formula>
      <dl class="facts">
        <dt>h</dt>
        <dd>{fmt(found.step)}</dd>
        <dt>L(w + h)</dt>
        <dd>{fmt(found.above, 12)}</dd>
        <dt>L(w − h)</dt>
        <dd>{fmt(found.below, 12)}</dd>
        <dt>The slope</dt>
        <dd>{fmt(found.slope)}</dd>
        <dt>The gradient of the net</dt>
        <dd>
          <output data-number="weight gradient">{fmt(found.gradient)}</output>
        </dd>
      </dl>
    </>
  );
}

interface Props {
  sample: Sample;
  weights: Weights;
  route: Route;
}

export function WeightGradient({ sample, weights, route }: Props): VNode {
  const { difference } = sample.entry;
  const names = header.nodes.filter(hasWeight).map((node) => node.name);
  if (names.length === 0) return <p>There is no convolution and no linear layer.</p>;
  const chosen = nodeOf(route.layer)!;
  const node = hasWeight(chosen) ? chosen : nodeOf(names[0]!)!;
  const tensor = node.tensors["weight"]!;
  const { shape } = header.tensors[tensor]!;
  const own = [node === chosen ? route.channel : 0];
  const start = route.weight ?? (difference?.tensor === tensor ? difference.index : own);
  const index = shape.map((size, axis) => Math.min(Math.max(start[axis] ?? 0, 0), size - 1));
  const found = seenAndMade(sample, node, index);
  const axes = node.kind === "Linear" ? ["Output", "Input"] : ["Output channel", "Input channel", "Row", "Column"];
  const value = weights.get(tensor)?.[index.reduce((sum, i, axis) => sum * shape[axis]! + i, 0)];
  const isChecked = difference?.tensor === tensor && difference.index.join() === index.join();
  const set = (axis: number, n: number): void =>
    go({ layer: node.name, channel: route.channel, weight: index.map((i, a) => (a === axis ? n : i)) });
  return (
    <>
      <p>
        {node.kind === "Linear"
          ? "A weight of a linear layer is used once. Its gradient is what it saw, times the gradient in what it made."
          : "A weight of a convolution is used at every position. Its gradient is the sum over all of them: what it saw there, times the gradient in what it made there."}
      </p>
      <div class="chooser" role="group" aria-label="The weight to look at">
        <LayerField route={{ ...route, layer: node.name }} names={names} />
        {axes.map((label, axis) => (
          <NumberField
            key={label}
            label={label}
            value={index[axis]!}
            size={shape[axis]!}
            onChange={(n) => set(axis, n)}
          />
        ))}
      </div>
      {value !== undefined && (
        <p>
          The weight is <output>{fmt(value)}</output>.
        </p>
      )}
      {found ? (
        <Products found={found} node={node} index={index} engine={isChecked ? difference!.gradient : null} />
      ) : null}
      {difference && <Slope found={difference} />}
    </>
  );
}

interface ProductsProps {
  found: Made;
  node: LayerNode;
  index: number[];
  engine: number | null;
}

function Products({ found, node, index, engine }: ProductsProps): VNode {
  const { seen, grad, rows, columns } = found;
  const products = [...seen].map((value, i) => value * grad[i]!);
  const sum = sumOf(products);
  return (
    <>
      <Formula>
        <Frac
          over={
            <>
              <O>∂</O>
              <I>L</I>
            </>
          }
          under={
            <>
              <O>∂</O>
              <I>w</I>
            </>
          }
        />
        <O>=</O>
        {node.kind === "Linear" ? (
          <>
            <I>x</I>
            <I>g</I>
            <O>=</O>
            <N value={seen[0]!} />
            <O>·</O>
            <N wrap value={grad[0]!} />
          </>
        ) : (
          <Sum over={<I>i,j</I>}>
            <Sub base="x" index="i,j" />
            <Sub base="g" index="i,j" />
          </Sum>
        )}
        <O>=</O>
        <N value={sum} />
      </Formula>
      {node.kind !== "Linear" && (
        <div class="columns three">
          <HeatMap label="x, what the weight saw" values={seen} rows={rows} columns={columns} size={196} />
          <HeatMap label="g, the gradient in what it made" values={grad} rows={rows} columns={columns} size={196} />
          <HeatMap label="their products" values={products} rows={rows} columns={columns} size={196} />
        </div>
      )}
      <p>
        {node.kind === "Linear" ? "The product" : "The sum"} is{" "}
        <output data-number="weight sum" data-index={index.join()}>
          {fmt(sum)}
        </output>
        .
      </p>
      {engine !== null && <SumCheck terms={products} value={engine} what="The gradient in this weight" />}
    </>
  );
}
