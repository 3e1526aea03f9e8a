// How often each number occurs.
import type { VNode } from "preact";
import { Figure } from "./maps";
import { fmt, histogram, short, whole } from "./numbers";
import { Head } from "./table";

const [WIDTH, HEIGHT] = [240, 110];

interface Props {
  values: ArrayLike<number>;
  label: string;
  caption: string;
}

export function Histogram({ values, label, caption }: Props): VNode {
  const bins = histogram(values);
  const most = Math.max(...bins.map((bin) => bin.count));
  const width = WIDTH / bins.length;
  const numbers = (): VNode => (
    <table class="numbers">
      <tbody>
        <Head names={["from", "to", "count"]} />
        {bins.map((bin, i) => (
          <tr key={i}>
            <td>{fmt(bin.from)}</td>
            <td>{fmt(bin.to)}</td>
            <td>{whole(bin.count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
  return (
    <Figure caption={caption} label={label} numbers={numbers}>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT + 20}`} role="img" aria-label={`Histogram of ${label}`}>
        {bins.map((bin, i) => {
          const height = (HEIGHT - 14) * (bin.count / most);
          return <rect key={i} x={i * width + 0.5} y={HEIGHT - height} width={width - 1} height={height} />;
        })}
        <path class="axis" d={`M0 ${HEIGHT + 0.5}H${WIDTH}`} />
        <text x="0" y={HEIGHT + 15}>
          {short(bins[0]!.from)}
        </text>
        <text x={WIDTH} y={HEIGHT + 15} text-anchor="end">
          {short(bins[bins.length - 1]!.to)}
        </text>
        <text x={WIDTH} y="10" text-anchor="end">
          highest: {whole(most)}
        </text>
      </svg>
    </Figure>
  );
}
