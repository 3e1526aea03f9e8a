// Map: the layers from the input to the output, and everything about the chosen one.
import type { VNode } from "preact";
import { useRef } from "preact/hooks";
import { AllChannels, layerName, OneMap, placeKey, placeText, indexOf } from "./activation";
import { header, nodeOf, SAMPLE, type Sample } from "./data";
import { Facts } from "./facts";
import { Histogram } from "./histogram";
import { layout, type Edge, type Layout } from "./layout";
import { HeatMap } from "./maps";
import { fmt, shapeOf } from "./numbers";
import { fragment, go, type Route } from "./state";

const ROW = 52; // pixels, as in style.css
const CHIP = 36;

let found: Layout | null = null;

const drawn = (): Layout => (found ??= layout(header.nodes));

/** The line of an edge: x in hundredths of the width of all lanes, y in pixels. */
function line({ from, to, blocked }: Edge, lanes: number): string {
  const x = (lane: number): number => (100 * (lane + 0.5)) / lanes;
  const [x1, y1, x2, y2] = [x(from.lane), from.row * ROW + CHIP, x(to.lane), to.row * ROW];
  if (!blocked) {
    // straight down in the outer lane; into the other lane at the end, or out of it at the start
    const bend = 2 * (ROW - CHIP);
    if (from.lane === to.lane) return `M${x1} ${y1}V${y2}`;
    if (from.lane > to.lane) return `M${x1} ${y1}V${y2 - bend}C${x1} ${y2} ${x2} ${y2 - bend} ${x2} ${y2}`;
    return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y1} ${x2} ${y1 + bend}V${y2}`;
  }
  const around = (100 * (Math.max(from.lane, to.lane) + 1)) / lanes + 5;
  return `M${x1} ${y1}C${around} ${y1 + 8} ${around} ${y1 + 8} ${around} ${y1 + ROW / 2}L${around} ${y2 - ROW / 2}C${around} ${y2 - 8} ${around} ${y2 - 8} ${x2} ${y2}`;
}

/** Whether the page has no numbers of a layer, though it has those of others. */
const isMissing = (sample: Sample, name: string): boolean => sample.entry.complete && !sample.output(name);

function Chips({ sample, route }: { sample: Sample; route: Route }): VNode {
  const { spots, edges, rows, lanes } = drawn();
  const box = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const i = header.nodes.findIndex((node) => node.name === route.layer);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    const ends: Record<string, number> = { Home: 0, End: header.nodes.length - 1 };
    const to = ends[event.key] ?? (event.key in steps ? i + steps[event.key]! : null);
    const node = to === null ? undefined : header.nodes[to];
    if (!node) return;
    event.preventDefault();
    go({ layer: node.name });
    box.current?.querySelectorAll("button")[to!]?.focus();
  };
  return (
    <div
      class="chips"
      ref={box}
      role="toolbar"
      aria-label="Layers"
      aria-orientation="vertical"
      onKeyDown={move}
      style={{ height: `${rows * ROW}px` }}
    >
      <svg viewBox={`0 0 106 ${rows * ROW}`} preserveAspectRatio="none" aria-hidden="true">
        {edges.map((edge, i) => (
          <path key={i} d={line(edge, lanes)} />
        ))}
      </svg>
      {header.nodes.map((node) => {
        const spot = spots.get(node.name)!;
        const chosen = node.name === route.layer;
        const missing = isMissing(sample, node.name);
        return (
          <button
            type="button"
            key={node.name}
            class={missing ? "missing" : undefined}
            aria-pressed={chosen}
            aria-label={`${layerName(node)}, ${node.shape.join(" × ")}${missing ? ", left out" : ""}`}
            title={`${node.name} ${node.kind}`}
            tabIndex={chosen ? 0 : -1}
            onClick={() => go({ layer: node.name })}
            style={{
              top: `${spot.row * ROW}px`,
              left: `${((100 / 1.06) * spot.lane) / lanes}%`,
              width: `calc(${100 / 1.06 / lanes}% - 6px)`,
              height: `${CHIP}px`,
            }}
          >
            <b>{node.kind || "input"}</b>
            <small>{node.shape.join("×")}</small>
          </button>
        );
      })}
    </div>
  );
}

/** The pixels of the image that the chosen number depends on. */
function Seen({ sample, route }: { sample: Sample; route: Route }): VNode | null {
  const { field } = nodeOf(route.layer)!;
  const input = nodeOf("input")!;
  const values = sample.output("input");
  if (!field || !values || input.shape.length !== 3 || route.layer === "input") return null;
  const { rows, columns } = shapeOf(input.shape);
  const start = [field.offset[0] + field.stride[0] * route.y, field.offset[1] + field.stride[1] * route.x] as const;
  const [top, left] = [Math.max(0, start[0]), Math.max(0, start[1])];
  const box = {
    row: top,
    column: left,
    rows: Math.min(rows, start[0] + field.size[0]) - top,
    columns: Math.min(columns, start[1] + field.size[1]) - left,
  };
  return (
    <HeatMap
      label="What the chosen number sees of the image"
      values={values.subarray(0, rows * columns)}
      rows={rows}
      columns={columns}
      boxes={[box]}
      size={196}
    />
  );
}

export function LayerMap({ sample, route }: { sample: Sample; route: Route }): VNode {
  const node = nodeOf(route.layer)!;
  const values = sample.output(node.name);
  const label = `Output of ${layerName(node)}`;
  const { lanes } = drawn();
  return (
    <div class={lanes > 2 ? "map broad" : "map"}>
      <div>
        {header.nodes.some(({ name }) => isMissing(sample, name)) && (
          <p class="hint">A broken line around a layer: its numbers were left out, to keep the page small.</p>
        )}
        <Chips sample={sample} route={route} />
      </div>
      <div>
        <h3>{layerName(node)}</h3>
        <Facts node={node} />
        {values ? (
          <>
            <AllChannels node={node} route={route} values={values} label={`All channels of ${layerName(node)}`} />
            <div class="columns">
              <OneMap
                node={node}
                route={route}
                values={values}
                label={label}
                caption={`Chosen: ${placeText(node, route)}`}
                size={280}
              />
              <Seen sample={sample} route={route} />
              <Histogram
                values={values}
                label={`the output of ${layerName(node)}`}
                caption="How often each number occurs"
              />
            </div>
            <p>
              {placeText(node, route)}:{" "}
              <output data-number="value" data-place={placeKey(sample, route)}>
                {fmt(values[indexOf(node, route)]!)}
              </output>
              . {node.kind && <a href={fragment({ section: "arithmetic" })}>How this number is made</a>}
            </p>
          </>
        ) : (
          <LeftOut sample={sample} />
        )}
      </div>
    </div>
  );
}

export function LeftOut({ sample }: { sample: Sample }): VNode {
  const complete = header.images.findIndex((image) => image.complete);
  return (
    <p class="note">
      {sample.entry.complete
        ? "The numbers of this layer were left out, to keep the page small."
        : `The numbers of this ${SAMPLE} were left out, to keep the page small. `}
      {!sample.entry.complete && complete >= 0 && <a href={fragment({ image: complete })}>Choose one that has them</a>}
    </p>
  );
}
