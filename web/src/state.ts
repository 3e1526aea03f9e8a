// What is chosen on the page, kept in the fragment of its address: #image=3&layer=conv2&channel=5&y=4&x=7
import { useEffect, useState } from "preact/hooks";
import { header, nodeIndex, nodeOf } from "./data";
import { shapeOf } from "./numbers";
import type { LayerNode } from "./types";

export interface Route {
  image: number;
  layer: string;
  channel: number;
  y: number;
  x: number;
  weight: number[] | null;
  section: string | null;
}

const clamp = (text: string | null, size: number, otherwise: number): number => {
  const n = text === null ? otherwise : Number.parseInt(text, 10);
  return Math.min(Math.max(Number.isFinite(n) ? n : otherwise, 0), Math.max(size - 1, 0));
};

/** Whether the page has all numbers that the arithmetic of a layer needs. */
function hasNumbers({ name, reads, tensors }: LayerNode): boolean {
  const outputs = header.images.find((image) => image.complete)?.outputs ?? [];
  return (
    [name, ...reads].every((each) => typeof outputs[nodeIndex(each)] === "number") &&
    Object.values(tensors).every((each) => typeof header.tensors[each]?.offset === "number")
  );
}

const layers = header.nodes.filter(({ kind }) => kind === "Conv2d" || kind === "Linear");
const first = layers.find(hasNumbers) ?? layers[0] ?? header.nodes[0]!;

export function parse(fragment: string): Route {
  const found = new URLSearchParams(fragment.replace(/^#/, ""));
  const given = found.get("layer");
  const layer = given !== null && nodeOf(given) ? given : first.name;
  const { channels, rows, columns } = shapeOf(nodeOf(layer)!.shape);
  const weight = found.get("weight")?.split(",").map(Number) ?? null;
  return {
    image: clamp(found.get("image"), header.images.length, 0),
    layer,
    channel: clamp(found.get("channel"), channels, 0),
    y: clamp(found.get("y"), rows, Math.floor(rows / 2)),
    x: clamp(found.get("x"), columns, Math.floor(columns / 2)),
    weight: weight?.every(Number.isInteger) ? weight : null,
    section: found.get("section"),
  };
}

let current = parse(location.hash);
const listeners = new Set<(route: Route) => void>();

export function fragment(change: Partial<Route>): string {
  const moved = change.layer !== undefined && change.layer !== current.layer;
  const next = { ...current, section: null, ...(moved ? { channel: 0, y: -1, x: -1, weight: null } : {}), ...change };
  const words = [`image=${next.image}`, `layer=${encodeURIComponent(next.layer)}`, `channel=${next.channel}`];
  if (next.y >= 0) words.push(`y=${next.y}`);
  if (next.x >= 0) words.push(`x=${next.x}`);
  if (next.weight) words.push(`weight=${next.weight.join(",")}`);
  if (next.section) words.push(`section=${next.section}`);
  return `#${words.join("&")}`;
}

function set(next: Route): void {
  current = next;
  for (const listener of listeners) listener(next);
}

export function go(change: Partial<Route>): void {
  const text = fragment(change);
  try {
    history.replaceState(null, "", text);
  } catch {
    // a frame without an origin keeps its address
  }
  set(parse(text));
}

/** Scroll to the section, or the heading, that an address names. */
export function show(section: string | null): void {
  const place = section ? document.getElementById(section) : null;
  place?.scrollIntoView();
  (place?.querySelector("h2") ?? place)?.focus({ preventScroll: true });
}

window.addEventListener("hashchange", () => {
  set(parse(location.hash));
  requestAnimationFrame(() => show(current.section)); // when the sections have their new heights
});

// a link to what is already shown changes no address, but leads there all the same
window.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
  if (link && link.getAttribute("href") === location.hash) show(parse(location.hash).section);
});

export function useRoute(): Route {
  const [route, update] = useState(current);
  useEffect(() => {
    listeners.add(update);
    return () => void listeners.delete(update);
  }, []);
  return route;
}

let live: HTMLElement | null = null;

export const setLive = (element: HTMLElement | null): void => void (live = element);

/** Have a screen reader read a text. */
export const announce = (text: string): void => {
  if (live) live.textContent = text;
};
