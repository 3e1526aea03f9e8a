// Where each layer stands in the map: a row below all that it reads, and a lane, so that branches are side by side.
import type { LayerNode } from "./types";

export interface Spot {
  row: number;
  lane: number;
}

export interface Edge {
  from: Spot;
  to: Spot;
  /** Whether a layer stands between the two, so that the line must go around it. */
  blocked: boolean;
}

export interface Layout {
  spots: Map<string, Spot>;
  edges: Edge[];
  rows: number;
  lanes: number;
}

const key = (row: number, lane: number): string => `${row} ${lane}`;

export function layout(nodes: LayerNode[]): Layout {
  const spots = new Map<string, Spot>();
  const taken = new Set<string>();
  const readers = new Map<string, number>();
  const edges: Edge[] = [];
  for (const node of nodes) {
    const read = node.reads.map((name) => spots.get(name)!).filter((spot) => spot !== undefined);
    const row = read.length ? 1 + Math.max(...read.map((spot) => spot.row)) : 0;
    const firstName = node.reads[0] ?? "";
    // the second reader of a layer is a branch: it gets a lane of its own; a join returns to the leftmost
    const branch = node.reads.length === 1 ? (readers.get(firstName) ?? 0) : 0;
    let lane = read.length ? Math.min(...read.map((spot) => spot.lane)) + branch : 0;
    while (taken.has(key(row, lane))) lane++;
    const spot = { row, lane };
    spots.set(node.name, spot);
    taken.add(key(row, lane));
    for (const name of node.reads) readers.set(name, (readers.get(name) ?? 0) + 1);
    // a branch that is shorter than the others keeps its lane free down to the join
    for (const from of read)
      for (let r = from.row + 1; r < row; r++) if (from.lane !== lane) taken.add(key(r, from.lane));
  }
  const stands = new Set([...spots.values()].map((spot) => key(spot.row, spot.lane)));
  for (const node of nodes) {
    const to = spots.get(node.name)!;
    for (const name of node.reads) {
      const from = spots.get(name);
      if (!from) continue;
      let blocked = false;
      for (let r = from.row + 1; r < to.row; r++) blocked ||= stands.has(key(r, from.lane));
      edges.push({ from, to, blocked });
    }
  }
  const all = [...spots.values()];
  return {
    spots,
    edges,
    rows: 1 + Math.max(...all.map((spot) => spot.row)),
    lanes: 1 + Math.max(...all.map((spot) => spot.lane)),
  };
}
