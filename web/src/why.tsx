// Why this answer: maps of what the score of the predicted class depends on, and what each of them does not show.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { layerName } from "./activation";
import { className, header, nodeOf, SAMPLE, type Sample } from "./data";
import { LeftOut } from "./map";
import { HeatMap } from "./maps";
import { shapeOf, wrapped } from "./numbers";
import { isPicture, Picture } from "./picture";
import type { Place } from "./types";

const MAPS: Record<string, { title: string; shows: string; hides: string }> = {
  gradient: {
    title: "Gradient",
    shows: "How much the score changes with each number of the input, for a very small change.",
    hides:
      "What the answer is made of: where the score no longer rises with a pixel, its gradient is zero, however much it has contributed.",
  },
  gradient_times_input: {
    title: "Gradient times input",
    shows: "How much each number would contribute if the net were linear around this image.",
    hides:
      "What would happen without a pixel. A number that is 0 after scaling gets 0, even if being dark is what counts.",
  },
  occlusion: {
    title: "Occlusion",
    shows: "How much the score falls when a square patch is covered: the mean over the patches that cover a pixel.",
    hides:
      "What counts only together with something outside the patch. And a covered image looks like none that the net has learned from.",
  },
  grad_cam: {
    title: "Grad-CAM",
    shows: "Where the channels of the last convolution are active that raise the score.",
    hides: "Details, as it has only as many places as that layer has pixels; and whatever speaks against the class.",
  },
};

interface MapProps {
  values: Float32Array;
  shape: number[];
  label: string;
  caption: string;
}

function Maps({ values, shape, label, caption }: MapProps): VNode {
  if (shape.length === 2) {
    return <HeatMap label={label} caption={caption} values={values} rows={shape[0]!} columns={shape[1]!} size={168} />;
  }
  const { channels, rows, columns, flat } = shapeOf(shape);
  if (flat) {
    const across = wrapped(values.length);
    return (
      <HeatMap label={label} values={values} rows={Math.ceil(values.length / across)} columns={across} size={168} />
    );
  }
  const names = channels === 3 ? ["red", "green", "blue"] : [];
  return (
    <>
      {Array.from({ length: Math.min(channels, 3) }, (_, c) => (
        <HeatMap
          key={c}
          label={channels === 1 ? label : `${label}, ${names[c] ?? `channel ${c}`}`}
          caption={channels === 1 ? caption : `${caption}, ${names[c] ?? `channel ${c}`}`}
          values={values.subarray(c * rows * columns, (c + 1) * rows * columns)}
          rows={rows}
          columns={columns}
          size={168}
        />
      ))}
    </>
  );
}

export function Why({ sample }: { sample: Sample }): VNode {
  const [random, setRandom] = useState(false);
  const { entry } = sample;
  if (!entry.complete) return <LeftOut sample={sample} />;
  const names = Object.keys(MAPS).filter((name) => entry.maps[name]);
  const draw = (name: string, places: Record<string, Place>, label: string, caption: string): VNode | null => {
    const place = places[name];
    return place ? <Maps values={sample.saliency(place)} shape={place.shape} label={label} caption={caption} /> : null;
  };
  const what = entry.probabilities ? className(entry.predicted) : `output ${entry.predicted}`;
  return (
    <>
      <p>
        All maps are of the score of <strong>{what}</strong>, the number that {layerName(nodeOf(header.logits)!)} gives.
        No map is an explanation by itself: one that looks the same for a net that has learned nothing shows the{" "}
        {SAMPLE}, not the net.
      </p>
      <label class="switch">
        <input type="checkbox" checked={random} onChange={(event) => setRandom(event.currentTarget.checked)} />
        Beside each map, that of the same net with random weights
      </label>
      {entry.pixels && isPicture(entry.pixels.shape) && (
        <figure>
          <figcaption>The image</figcaption>
          <Picture index={sample.index} size={168} />
        </figure>
      )}
      <div class="pairs">
        {names.map((name) => {
          const { title, shows, hides } = MAPS[name]!;
          return (
            <section key={name} class="why">
              <h3>{title}</h3>
              <p>
                {shows} <strong>It does not show:</strong> {hides[0]!.toLowerCase() + hides.slice(1)}
              </p>
              <div class="columns">
                {draw(name, entry.maps, title, "this net")}
                {random && draw(name, entry.random_maps, `${title}, random weights`, "random weights")}
              </div>
            </section>
          );
        })}
      </div>
      {entry.maps_left_out.length > 0 && (
        <p class="note">
          Left out, to keep the page small: {entry.maps_left_out.map((name) => MAPS[name]!.title).join(", ")}.
        </p>
      )}
      {names.length === 0 && entry.maps_left_out.length === 0 && <p>There are no such maps for this kind of net.</p>}
      <p class="hint">
        Gradient: Simonyan et al. 2014. Gradient times input: Shrikumar et al. 2016. Occlusion: Zeiler and Fergus 2014.
        Grad-CAM: Selvaraju et al. 2017. The check with random weights: Adebayo et al. 2018.
      </p>
    </>
  );
}
