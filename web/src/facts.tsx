// Facts about a layer: its size as a formula, its cost, the pixels that it sees.
import { Fragment, type VNode } from "preact";
import { layerName } from "./activation";
import { nodeOf, SAMPLE } from "./data";
import { percent, whole } from "./numbers";
import { fragment } from "./state";
import type { LayerNode } from "./types";

function field(node: LayerNode): string {
  if (!node.field) return "not known";
  const { size, stride, offset } = node.field;
  const further = stride[0] === stride[1] ? `${stride[0]} further` : `${stride[0]} down, ${stride[1]} to the right`;
  const steps = stride[0] || stride[1] ? `; for the next number, ${further}` : "";
  const from = `the first number from row ${offset[0]}, column ${offset[1]} on`.replace(/-/g, "−");
  return `${size[0]} × ${size[1]} pixels of the image: ${from}${steps}`;
}

export function Facts({ node }: { node: LayerNode }): VNode {
  const formulas = Object.entries(node.formulas).map(
    ([axis, text]) => `${axis} ${text.replace(/\*/g, "·").replace(/ - /g, " − ")}`,
  );
  return (
    <dl class="facts">
      {node.text && (
        <>
          <dt>Settings</dt>
          <dd>
            <code>{node.text}</code>
          </dd>
        </>
      )}
      <dt>Shape</dt>
      <dd>
        {node.shape.join(" × ")}
        {formulas.map((text) => (
          <div key={text}>{text}</div>
        ))}
      </dd>
      {node.reads.length > 0 && (
        <>
          <dt>Reads</dt>
          <dd>
            {node.reads.map((name, i) => (
              <Fragment key={i}>
                {i > 0 && ", "}
                <a href={fragment({ layer: name })}>{layerName(nodeOf(name)!)}</a>
              </Fragment>
            ))}
          </dd>
        </>
      )}
      <dt>Parameters</dt>
      <dd>{whole(node.parameters)}</dd>
      <dt>Multiply-adds</dt>
      <dd>{whole(node.multiply_adds)}</dd>
      {nodeOf("input")!.shape.length === 3 && (
        <>
          <dt>Sees</dt>
          <dd>{field(node)}</dd>
        </>
      )}
      {node.dead !== null && (
        <>
          <dt>Dead units</dt>
          <dd>
            {percent(node.dead)} are zero for every {SAMPLE} on this page
          </dd>
        </>
      )}
    </dl>
  );
}
