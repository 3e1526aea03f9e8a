// Check yourself: eight questions about this very net, with answers that lead to the place where one sees it.
import type { VNode } from "preact";
import { layerName } from "./activation";
import { className, count, given, header, isOneOf, nodeOf, SAMPLE } from "./data";
import { fmt, percent, whole } from "./numbers";
import { fragment, type Route } from "./state";
import type { LayerNode } from "./types";
import { pair } from "./view";

interface Question {
  ask: string;
  answer: string;
  to: Partial<Route>;
}

const WANTED = 8;
const most = (nodes: LayerNode[], of: (node: LayerNode) => number): LayerNode =>
  nodes.reduce((a, b) => (of(b) > of(a) ? b : a));

function aboutLayers(): Question[] {
  const { nodes } = header;
  const found: Question[] = [];
  const total = nodes.reduce((sum, node) => sum + node.parameters, 0);
  const large = most(nodes, (node) => node.parameters);
  const costly = most(nodes, (node) => node.multiply_adds);
  const conv = nodes.filter((node) => node.arithmetic && node.kind === "Conv2d");
  const last = conv[conv.length - 1];
  found.push({
    ask: "Which layer has the most parameters, and what share of all is that?",
    answer: `${layerName(large)}: ${whole(large.parameters)} of ${whole(total)}, ${percent(large.parameters / (total || 1))}.`,
    to: { layer: large.name, section: "map" },
  });
  found.push({
    ask: "Which layer needs the most multiply-adds? Is it the same?",
    answer: `${layerName(costly)}, with ${whole(costly.multiply_adds)}. ${
      costly === large
        ? "Here it is the same layer."
        : "It is another one, because a kernel is used again at every position, so that few parameters do much work."
    }`,
    to: { layer: costly.name, section: "map" },
  });
  const sized = nodes.find((node) => "pads" in node.settings && "height" in node.formulas);
  if (sized) {
    found.push({
      ask: `Why does the output of ${layerName(sized)} have ${sized.shape[1]} rows?`,
      answer: `${sized.formulas["height"]!.replace(/\*/g, "·")}: the rows of the input and the padding, less the window, divided by the stride, and one more.`,
      to: { layer: sized.name, section: "map" },
    });
  }
  if (last) {
    const [h, w] = pair(last.settings["kernel_size"]);
    const perGroup = Number(last.settings["in_channels"]) / Number(last.settings["groups"]);
    const bias = "bias" in last.tensors;
    found.push({
      ask: `How many products are added for one number of ${layerName(last)}?`,
      answer: `${h} · ${w} · ${perGroup} = ${whole(h * w * perGroup)}${bias ? ", and the bias" : ""}.`,
      to: { layer: last.name, section: "arithmetic" },
    });
    if (last.field) {
      found.push({
        ask: `How large a part of the image does one number of ${layerName(last)} depend on?`,
        answer: `${last.field.size.join(" × ")} pixels, although its own kernel is ${h} × ${w}: it reads layers that have windows themselves.`,
        to: { layer: last.name, section: "map" },
      });
    }
  }
  const dead = nodes.filter((node) => node.dead !== null);
  if (dead.length) {
    const worst = most(dead, (node) => node.dead!);
    found.push({
      ask: `After which layer are the most units zero for every ${SAMPLE} on this page, and what follows for their weights?`,
      answer: `${layerName(worst)}, ${percent(worst.dead!)}. Where a unit is zero its gradient is zero: these ${SAMPLE}s change nothing through it.`,
      to: { layer: worst.name, section: "map" },
    });
  }
  const largest = most(nodes.slice(1), (node) => count(node.shape));
  const linear = nodes.find((node) => node.arithmetic && node.kind === "Linear");
  if (linear) {
    const inputs = nodeOf(linear.reads[0] ?? "")?.shape.reduce((a, b) => a * b, 1) ?? 0;
    found.push({
      ask: `How many inputs does one number of ${layerName(linear)} depend on?`,
      answer: `On all ${whole(inputs)} that the layer reads. That is the difference from a convolution, which reads a window.`,
      to: { layer: linear.name, section: "arithmetic" },
    });
  }
  found.push({
    ask: `Which layer gives the most numbers for one ${SAMPLE}?`,
    answer: `${layerName(largest)}, ${largest.shape.join(" × ")}: ${whole(count(largest.shape))}.`,
    to: { layer: largest.name, section: "map" },
  });
  return found;
}

function aboutImages(): Question[] {
  const images = header.images.slice(0, given).map((image, i) => ({ ...image, i }));
  const known = images.filter((image) => image.probabilities);
  if (known.length === 0 || !isOneOf) return [];
  const found: Question[] = [];
  const top = (image: { probabilities: number[] | null }): number => Math.max(...image.probabilities!);
  const unsure = known.reduce((a, b) => (top(b) < top(a) ? b : a));
  found.push({
    ask: `For which ${SAMPLE} on this page is the net least sure?`,
    answer: `${unsure.name}: the most likely class, ${className(unsure.predicted)}, has only ${fmt(top(unsure), 4)}.`,
    to: { image: unsure.i, section: "predict" },
  });
  const worst = known.reduce((a, b) => (b.loss > a.loss ? b : a));
  found.push({
    ask: `Which ${SAMPLE} has the largest loss, and why?`,
    answer: `${worst.name}, ${fmt(worst.loss, 4)}: its class ${className(worst.class)} has a probability of only ${fmt(Math.exp(-worst.loss), 4)}, and the loss is minus the logarithm of that.`,
    to: { image: worst.i, section: "backward" },
  });
  found.push({
    ask: "What is the sum of p − y over all classes?",
    answer:
      "Zero, up to rounding: the probabilities add up to 1, and so does y. What one class gains, the others lose.",
    to: { layer: header.logits, section: "backward" },
  });
  const labelled = known.filter((image) => typeof image.label === "number");
  const right = labelled.filter((image) => image.label === image.predicted).length;
  if (labelled.some((image) => image.why)) {
    found.push({
      ask: `How many ${SAMPLE}s on this page are right, and is that the accuracy of the net?`,
      answer: `${right} of ${labelled.length}. No: they were chosen, some because they are right, some because they are wrong, and some because the net is not sure.`,
      to: { section: "predict" },
    });
  }
  const checked = known.find((image) => image.difference);
  if (checked?.difference) {
    const { tensor, index, gradient } = checked.difference;
    const node = header.nodes.find((each) => Object.values(each.tensors).includes(tensor));
    found.push({
      ask: `For ${checked.name}, which weight of ${tensor} would change the loss most, and in which direction should it go?`,
      answer: `[${index.join(", ")}], whose gradient is ${fmt(gradient, 4)}. ${gradient > 0 ? "Smaller" : "Larger"}: a step goes against the gradient.`,
      to: { image: checked.i, layer: node?.name ?? header.logits, weight: index, section: "one-weight" },
    });
  }
  return found;
}

/** Eight of them: half from the layers, half from the images, as far as there are so many. */
function questions(): Question[] {
  const [layers, images] = [aboutLayers(), aboutImages()];
  const take = Math.max(WANTED - images.length, WANTED / 2);
  return [...layers.slice(0, take), ...images].slice(0, WANTED);
}

export function Questions(): VNode {
  return (
    <ol class="questions">
      {questions().map(({ ask, answer, to }) => (
        <li key={ask}>
          <details>
            <summary>{ask}</summary>
            <p>
              {answer} <a href={fragment(to)}>See it</a>
            </p>
          </details>
        </li>
      ))}
    </ol>
  );
}
