// Weights and training: the weights of a layer as images, their sizes, and how the training went.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { layerName } from "./activation";
import { LayerField, NumberField } from "./chooser";
import { Confusion } from "./confusion";
import { header, nodeOf, type Weights } from "./data";
import { Histogram } from "./histogram";
import { HeatMap, Mosaic } from "./maps";
import { fmt, stats, whole, wrapped } from "./numbers";
import { fragment, go, type Route } from "./state";
import { Curves } from "./training";
import type { LayerNode } from "./types";
import { Head, Scroll } from "./table";

interface Props {
  weights: Weights;
  route: Route;
}

/** The weights of one layer. */
interface TensorProps {
  node: LayerNode;
  values: Float32Array;
  shape: number[];
  route: Route;
}

/** The kernels that read one input channel, of all output channels. */
function Kernels({ node, values, shape, route }: TensorProps): VNode {
  const [chosen, setChosen] = useState(0);
  const [out = 1, into = 1, rows = 1, columns = 1] = shape;
  const c = Math.min(chosen, into - 1);
  const area = rows * columns;
  const shown = new Float32Array(out * area);
  for (let k = 0; k < out; k++) shown.set(values.subarray((k * into + c) * area, (k * into + c + 1) * area), k * area);
  return (
    <>
      {into > 1 && (
        <div class="chooser">
          <NumberField label="Input channel of the kernels" value={c} size={into} onChange={setChosen} />
        </div>
      )}
      <Mosaic
        label={
          into > 1
            ? `Kernels that read channel ${c}, one for each output channel`
            : "Kernels, one for each output channel"
        }
        what="kernel"
        values={shown}
        channels={out}
        rows={rows}
        columns={columns}
        channel={route.layer === node.name ? Math.min(route.channel, out - 1) : 0}
        onMove={(channel) => go({ layer: node.name, channel, y: route.y, x: route.x })}
      />
    </>
  );
}

/** The weights of one output of a linear layer, in the shape of what the layer reads, if that was flattened. */
function Row({ node, values, shape, route }: TensorProps): VNode {
  const [at, setAt] = useState(0);
  const [out = 1, into = 1] = shape;
  const k = route.layer === node.name ? Math.min(route.channel, out - 1) : 0;
  const row = values.subarray(k * into, (k + 1) * into);
  let before = nodeOf(node.reads[0] ?? "");
  while (before && ["Flatten", "Dropout"].includes(before.kind)) before = nodeOf(before.reads[0] ?? "");
  const image = before?.shape.length === 3 && before.shape.reduce((a, b) => a * b, 1) === into ? before.shape : null;
  const label = `Weights of output ${k}`;
  const across = wrapped(into);
  return (
    <>
      <div class="chooser">
        <NumberField
          label="Output"
          value={k}
          size={out}
          onChange={(channel) => go({ layer: node.name, channel, y: 0, x: 0 })}
        />
      </div>
      {image ? (
        <Mosaic
          label={`${label}, as the ${image.join(" × ")} numbers that they multiply`}
          values={row}
          channels={image[0]!}
          rows={image[1]!}
          columns={image[2]!}
          channel={at}
          onMove={setAt}
        />
      ) : (
        <HeatMap
          label={label}
          values={row}
          rows={Math.ceil(into / across)}
          columns={across}
          where={({ row: i, column }) => `input ${i * across + column}`}
        />
      )}
    </>
  );
}

function Tensor({ node, weights, route }: { node: LayerNode; weights: Weights; route: Route }): VNode {
  const name = node.tensors["weight"];
  const values = weights.get(name);
  if (!name || !values) return <p class="note">The weights of this layer were left out, to keep the page small.</p>;
  const { shape } = header.tensors[name]!;
  const across = wrapped(values.length);
  return (
    <div class="columns">
      <div>
        {shape.length === 4 && <Kernels node={node} values={values} shape={shape} route={route} />}
        {shape.length === 2 && <Row node={node} values={values} shape={shape} route={route} />}
        {shape.length !== 4 && shape.length !== 2 && (
          <HeatMap label={name} values={values} rows={Math.ceil(values.length / across)} columns={across} />
        )}
      </div>
      <Histogram values={values} label={name} caption={`How often each number of ${name} occurs`} />
    </div>
  );
}

function Sizes({ weights, route }: Props): VNode {
  const rows = header.nodes.flatMap((node) => Object.values(node.tensors).map((name) => ({ node, name })));
  return (
    <Scroll label="All weights">
      <table class="numbers">
        <thead>
          <Head names={["weights", "shape", "size", "smallest", "mean", "largest"]} />
        </thead>
        <tbody>
          {rows.map(({ node, name }) => {
            const values = weights.get(name);
            const found = values && stats(values);
            return (
              <tr key={name} class={node.name === route.layer ? "chosen" : undefined}>
                <th scope="row">
                  <a href={fragment({ layer: node.name })}>{name}</a>
                </th>
                <td>{header.tensors[name]!.shape.join(" × ")}</td>
                {found ? (
                  [found.norm, found.min, found.mean, found.max].map((value, i) => <td key={i}>{fmt(value, 4)}</td>)
                ) : (
                  <td colSpan={4}>left out</td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}

export function WeightsAndTraining({ weights, route }: Props): VNode {
  const names = header.nodes.filter((node) => "weight" in node.tensors).map((node) => node.name);
  const node = nodeOf(names.includes(route.layer) ? route.layer : (names[0] ?? ""));
  const total = header.nodes.reduce((sum, each) => sum + each.parameters, 0);
  return (
    <>
      {node && (
        <>
          <div class="chooser">
            <LayerField route={{ ...route, layer: node.name }} names={names} />
          </div>
          <h3>{layerName(node)}</h3>
          <Tensor key={node.name} node={node} weights={weights} route={route} />
        </>
      )}
      <h3>All weights</h3>
      <p>The net has {whole(total)} parameters. The size of an array is the root of the sum of squares.</p>
      <Sizes weights={weights} route={route} />
      <h3>The training</h3>
      <Curves />
      <Confusion />
    </>
  );
}
