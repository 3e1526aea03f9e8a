// Choosing a layer, a channel and a pixel, with the keyboard or a pointer.
import type { VNode } from "preact";
import { layerName } from "./activation";
import { header, nodeOf } from "./data";
import { shapeOf } from "./numbers";
import { go, type Route } from "./state";

interface NumberProps {
  label: string;
  value: number;
  size: number;
  onChange: (value: number) => void;
}

export function NumberField({ label, value, size, onChange }: NumberProps): VNode {
  return (
    <label>
      {label}{" "}
      <input
        type="number"
        min={0}
        max={size - 1}
        value={value}
        onInput={(event) => {
          const next = event.currentTarget.valueAsNumber;
          if (Number.isInteger(next) && next >= 0 && next < size) onChange(next);
        }}
      />
    </label>
  );
}

export function LayerField({ route, names }: { route: Route; names?: string[] }): VNode {
  const shown = header.nodes.filter((node) => !names || names.includes(node.name));
  return (
    <label>
      Layer{" "}
      <select value={route.layer} onChange={(event) => go({ layer: event.currentTarget.value })}>
        {!shown.some((node) => node.name === route.layer) && <option value={route.layer}>choose one</option>}
        {shown.map((node) => (
          <option key={node.name} value={node.name} selected={node.name === route.layer}>
            {layerName(node)}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Chooser({ route }: { route: Route }): VNode {
  const { channels, rows, columns, flat } = shapeOf(nodeOf(route.layer)!.shape);
  return (
    <div class="chooser" role="group" aria-label="The number to look at">
      <LayerField route={route} />
      <NumberField
        label={flat ? "Number" : "Channel"}
        value={route.channel}
        size={channels}
        onChange={(channel) => go({ channel })}
      />
      {!flat && rows > 1 && <NumberField label="Row" value={route.y} size={rows} onChange={(y) => go({ y })} />}
      {!flat && columns > 1 && (
        <NumberField label="Column" value={route.x} size={columns} onChange={(x) => go({ x })} />
      )}
    </div>
  );
}
