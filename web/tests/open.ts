// Opens a page from disk, and notes what it asks for and says.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";

export const FOLDER = process.env["PAGES"] ?? "/tmp/cnn-pages";
export const NAMES = ["small_cnn", "resnet", "fashion", "spiral", "colours"];

// small ones: all kinds of layers, branches and answers
export const NETS = [
  ...["row", "branches", "graph", "own_layers", "logits", "curves", "equal_terms"],
  ...["edges", "yes_or_no", "many_labels", "regression"],
  ...["class_per_place", "number_per_place"],
];

export interface Place {
  image: number;
  layer: string;
  channel: number;
  y?: number;
  x?: number;
  value: number;
  gradient: number | null;
  /** The Python code of the engine that gives the value. */
  code: string | null;
}

export interface Weight {
  layer: string;
  weight: number[];
  gradient: number;
  /** The sum of the sizes of the products. */
  size: number;
}

export const numbers = (name: string): { places: Place[]; weights: Weight[] } =>
  JSON.parse(readFileSync(join(FOLDER, "numbers.json"), "utf8"))[name];

export interface Opened {
  requests: string[];
  messages: string[];
  milliseconds: number;
}

export async function open(page: Page, name: string, fragment = ""): Promise<Opened> {
  const requests: string[] = [];
  const messages: string[] = [];
  const address = `file://${join(FOLDER, `${name}.html`)}`;
  page.on("request", (request) => request.url().split("#")[0] === address || requests.push(request.url()));
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(error.message));
  const start = Date.now();
  await page.goto(address + fragment);
  await page.waitForSelector("main[data-ready]");
  return { requests, messages, milliseconds: Date.now() - start };
}

export const number = (text: string): number => Number(text.replaceAll("−", "-"));

/** Whether a text is a number, correctly rounded to the digits that it shows. */
export function isRounded(text: string, exact: number): boolean {
  const [mantissa = "", exponent = "0"] = text.replaceAll("−", "-").split("e");
  const digits = mantissa.split(".")[1]?.length ?? 0;
  const lastDigit = 10 ** (Number(exponent) - digits);
  const isExact = Number.isInteger(exact) && digits === 0 && exponent === "0";
  // the text "0.5" may stand for "0.500000": zeros at the end are not shown
  return isExact ? number(text) === exact : Math.abs(number(text) - exact) <= Math.max(lastDigit / 2, 0) * (1 + 1e-9);
}
