// The page: its sections one below the other, for the image that is chosen.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Arithmetic } from "./arithmetic";
import { Backward } from "./backward";
import { given, header, SAMPLE, sampleOf, weightsOf, type Sample, type Weights } from "./data";
import { LayerMap } from "./map";
import { whole } from "./numbers";
import { Predict } from "./predict";
import { Questions } from "./questions";
import { setLive, show, useRoute } from "./state";
import { WeightsAndTraining } from "./weights";
import { Why } from "./why";

const SECTIONS: [string, string, string][] = [
  ["predict", "Predict", `What the net says about one ${SAMPLE}.`],
  ["map", "Map", `The layers from the input to the output. Choose one to see what it makes of the ${SAMPLE}.`],
  ["arithmetic", "Arithmetic", "Any number of any layer, and how it is made from the numbers before it."],
  ["backward", "Backward", "From the loss back through the layers: how much it changes with every number."],
  ["why", "Why this answer", `Which parts of the ${SAMPLE} the answer depends on.`],
  ["weights", "Weights and training", "What the net has learned, and how that went."],
  ["questions", "Check yourself", "Questions about this net. Each answer leads to the place where one sees it."],
];

function Section({ id, children }: { id: string; children: ComponentChildren }): VNode {
  const [, title, about] = SECTIONS.find(([name]) => name === id)!;
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`} tabIndex={-1}>
        {title}
      </h2>
      <p class="about">{about}</p>
      {children}
    </section>
  );
}

/** What is not on the page. */
function leftOut(): string[] {
  const { images, activations, layers, gradients, tensors } = header.left_out;
  const why = "to keep the page small";
  const found = [];
  if (images)
    found.push(images === 1 ? `One ${SAMPLE} is left out, ${why}.` : `${images} ${SAMPLE}s are left out, ${why}.`);
  if (activations) {
    const n = given - activations;
    found.push(`Only the first ${n === 1 ? `${SAMPLE} has` : `${n} ${SAMPLE}s have`} all their numbers, ${why}.`);
  }
  const parts = [
    layers.length && `the outputs of ${layers.length} of ${header.nodes.length - 1} layers`,
    gradients.length && `the gradients in ${gradients.length} layers`,
    tensors.length && `${tensors.length} of ${Object.keys(header.tensors).length} arrays of weights`,
  ].filter(Boolean);
  if (parts.length) found.push(`To keep the page small, these are left out: ${parts.join("; ")}.`);
  if (layers.length) found.push("The map marks the layers without outputs.");
  return found;
}

function Head(): VNode {
  const { title, notes } = header.page;
  const missing: [string, string[]][] = [
    ["Outputs", header.left_out.layers],
    ["Gradients", header.left_out.gradients],
    ["Weights", header.left_out.tensors],
  ];
  const layers = header.nodes.length - 1;
  const parameters = header.nodes.reduce((sum, node) => sum + node.parameters, 0);
  return (
    <header>
      <h1>{title}</h1>
      <p>
        A net with {layers === 1 ? "one layer" : `${layers} layers`} and {whole(parameters)} parameters, and what it
        does with {given === 1 ? `one ${SAMPLE}` : `${given} ${SAMPLE}s`}, number by number. The net computed every
        number; this page shows them.
      </p>
      <p class="hint">
        {[...notes, ...leftOut()].join(" ")} <strong>This page contains the {SAMPLE}s that it shows.</strong>
      </p>
      {missing.some(([, names]) => names.length > 0) && (
        <details class="hint">
          <summary>What was left out</summary>
          {missing.map(([what, names]) => names.length > 0 && <p key={what}>{`${what}: ${names.join(", ")}`}</p>)}
        </details>
      )}
    </header>
  );
}

function Navigation(): VNode {
  const open = (event: MouseEvent, id: string): void => {
    event.preventDefault();
    show(id);
  };
  return (
    <nav aria-label="Sections">
      <ul>
        {SECTIONS.map(([id, title]) => (
          <li key={id}>
            <a href={`#section=${id}`} onClick={(event) => open(event, id)}>
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

export function App(): VNode {
  const route = useRoute();
  const [sample, setSample] = useState<Sample | null>(null);
  const [weights, setWeights] = useState<Weights | null>(null);
  const [fault, setFault] = useState("");
  const entry = header.images[route.image]; // another one, if an image of a live page was replaced
  useEffect(() => {
    let stale = false;
    sampleOf(route.image).then(
      (found) => !stale && setSample(found),
      (error: unknown) => setFault(`The data of this image cannot be read: ${String(error)}`),
    );
    return () => void (stale = true);
  }, [route.image, entry]);
  useEffect(() => {
    weightsOf().then(setWeights, (error: unknown) => setFault(`The weights cannot be read: ${String(error)}`));
  }, []);
  // these maps are the same for each number that is chosen
  const why = useMemo(() => sample && <Why sample={sample} />, [sample]);
  const ready = sample !== null && weights !== null;
  useEffect(() => {
    if (ready) show(route.section);
  }, [ready, sample]);
  return (
    <>
      <Head />
      <Navigation />
      <main data-ready={ready ? "yes" : undefined}>
        {fault && <p role="alert">{fault}</p>}
        {!ready && !fault && <p>Reading the numbers …</p>}
        {ready && (
          <>
            <Section id="predict">
              <Predict sample={sample} route={route} />
            </Section>
            <Section id="map">
              <LayerMap sample={sample} route={route} />
            </Section>
            <Section id="arithmetic">
              <Arithmetic sample={sample} weights={weights} route={route} />
            </Section>
            <Section id="backward">
              <Backward sample={sample} weights={weights} route={route} />
            </Section>
            <Section id="why">{why}</Section>
            <Section id="weights">
              <WeightsAndTraining weights={weights} route={route} />
            </Section>
            <Section id="questions">
              <Questions />
            </Section>
          </>
        )}
      </main>
      <div class="hidden" aria-live="polite" ref={setLive} />
    </>
  );
}
