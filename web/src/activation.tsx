// The output of a layer, or the gradient in it, as maps on which one chooses a number.
import type { ComponentChildren, VNode } from "preact";
import type { Sample } from "./data";
import type { Box } from "./grid";
import { HeatMap, Mosaic } from "./maps";
import { shapeOf, stats, wrapped } from "./numbers";
import { scaleOf } from "./colour";
import { go, type Route } from "./state";
import type { LayerNode } from "./types";

export const layerName = (node: LayerNode): string =>
  node.kind === "" ? "input" : node.name ? `${node.kind} ${node.name}` : node.kind;

interface Props {
  node: LayerNode;
  route: Route;
  values: Float32Array;
  label: string;
  caption?: ComponentChildren;
  boxes?: Box[];
  size?: number;
}

/** One channel, or all features of a row, with the chosen number marked. */
export function OneMap({ node, route, values, label, caption, boxes, size }: Props): VNode {
  const { rows, columns, flat } = shapeOf(node.shape);
  const common = {
    label,
    ...(caption === undefined ? {} : { caption }),
    ...(boxes ? { boxes } : {}),
    ...(size ? { size } : {}),
  };
  const isHere = route.layer === node.name;
  if (flat) {
    const across = wrapped(values.length);
    const feature = isHere ? route.channel : 0;
    return (
      <HeatMap
        {...common}
        values={values}
        idle={!isHere}
        rows={Math.ceil(values.length / across)}
        columns={across}
        cell={{ row: Math.floor(feature / across), column: feature % across }}
        where={(cell) => `number ${cell.row * across + cell.column}`}
        onMove={(cell) => go({ layer: node.name, channel: cell.row * across + cell.column, y: 0, x: 0 })}
      />
    );
  }
  const channel = isHere ? route.channel : 0;
  return (
    <HeatMap
      {...common}
      values={values.subarray(channel * rows * columns, (channel + 1) * rows * columns)}
      scale={scaleOf(stats(values))}
      idle={!isHere}
      rows={rows}
      columns={columns}
      cell={{ row: isHere ? route.y : 0, column: isHere ? route.x : 0 }}
      where={(cell) => `channel ${channel}, row ${cell.row}, column ${cell.column}`}
      onMove={(cell) => go({ layer: node.name, channel, y: cell.row, x: cell.column })}
    />
  );
}

/** Small pictures of all channels; nothing for a row of features or a single channel. */
export function AllChannels({ node, route, values, label, caption }: Props): VNode | null {
  const { channels, rows, columns, flat } = shapeOf(node.shape);
  if (flat || channels < 2) return null;
  return (
    <Mosaic
      label={label}
      {...(caption === undefined ? {} : { caption })}
      values={values}
      channels={channels}
      rows={rows}
      columns={columns}
      channel={route.layer === node.name ? route.channel : 0}
      onMove={(channel) => go({ layer: node.name, channel, y: route.y, x: route.x })}
    />
  );
}

/** The index of the chosen number in the array of its layer. */
export function indexOf(node: LayerNode, route: Route): number {
  const { rows, columns, flat } = shapeOf(node.shape);
  return flat ? route.channel : (route.channel * rows + route.y) * columns + route.x;
}

/** The chosen number and its image, for whoever reads the page with a program. */
export const placeKey = (sample: Sample, { layer, channel, y, x }: Route): string =>
  [sample.index, layer, channel, y, x].join(" ");

/** The chosen number in words. */
export function placeText(node: LayerNode, route: Pick<Route, "channel" | "y" | "x">): string {
  return shapeOf(node.shape).flat
    ? `number ${route.channel}`
    : `channel ${route.channel}, row ${route.y}, column ${route.x}`;
}
