// `cnn explore --live`: the page served, with images that are drawn, dropped, chosen and pasted.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { expect, test, type Page, type Request } from "@playwright/test";
import { isRounded } from "./open";

const PYTHON = process.env["PYTHON"] ?? "python3";
const SCRIPT = resolve("tests/live.py");
const folder = mkdtempSync(join(tmpdir(), "live-"));
const shoe = join(folder, "shoe.png");
const options = { env: { ...process.env, PYTHONPATH: resolve("..") }, cwd: folder };
const classes = 10;
const SLOW = { timeout: 60_000 }; // on a busy machine

let server: ChildProcess;
let address = "";

test.describe.configure({ mode: "serial" });

/** Start the command for a net, and return it with the address that it prints. */
async function serve(net: string): Promise<{ process: ChildProcess; address: string }> {
  const started = spawn(PYTHON, [SCRIPT, net, shoe], { ...options, stdio: ["ignore", "pipe", "inherit"] });
  const found = await new Promise<string>((resolved, failed) => {
    started.stdout!.once("data", (line: Buffer) => resolved(line.toString().trim()));
    started.once("exit", () => failed(new Error("the server has ended")));
  });
  return { process: started, address: found };
}

test.beforeAll(async () => {
  test.setTimeout(180_000);
  ({ process: server, address } = await serve("fashion"));
});

test.afterAll(() => void server.kill("SIGINT"));

/** Open the page, and note what it says in the console. */
async function open(page: Page): Promise<string[]> {
  const messages: string[] = [];
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(error.message));
  await page.goto(address);
  await page.waitForSelector("main[data-ready]");
  return messages;
}

const isImage = (request: Request): boolean => request.url().includes("/images?");
const status = (page: Page) => page.locator(".live [role=status]");

/** Do something that sends an image; return its bytes, once the page shows the answer. */
async function sent(page: Page, act: () => Promise<void>): Promise<Buffer> {
  const [request] = await Promise.all([page.waitForRequest(isImage), act()]);
  await request.response();
  await expect(status(page)).toContainText(" ms.", SLOW);
  return request.postDataBuffer()!;
}

/** The page shows the probabilities that the engine gives for an image. */
async function expectProbabilities(page: Page, image: Buffer): Promise<void> {
  const path = join(folder, "sent.png");
  writeFileSync(path, image);
  const exact: number[] = JSON.parse(execFileSync(PYTHON, [SCRIPT, "probabilities", path], options).toString());
  expect(exact.length).toBe(classes);
  for (const [k, p] of exact.entries()) {
    const text = (await page.locator(`#predict [data-number='p ${k}']`).textContent())!;
    expect(isRounded(text, p), `class ${k}: ${text} is ${p}`).toBe(true);
  }
}

async function draw(page: Page, from: [number, number], to: [number, number]): Promise<void> {
  await page.locator(".pad").scrollIntoViewIfNeeded();
  const box = (await page.locator(".pad").boundingBox())!;
  await page.mouse.move(box.x + from[0] * box.width, box.y + from[1] * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + to[0] * box.width, box.y + to[1] * box.height, { steps: 8 });
  await page.mouse.up();
}

/** Drop or paste a file, as a browser does when a user does so. */
async function give(page: Page, kind: "drop" | "paste", bytes: Buffer, name: string): Promise<void> {
  await page.evaluate(
    ([what, base64, fileName]) => {
      const data = new DataTransfer();
      const text = atob(base64!);
      data.items.add(new File([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], fileName!));
      document.body.dispatchEvent(
        what === "drop"
          ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: data, bubbles: true }),
      );
    },
    [kind, bytes.toString("base64"), name],
  );
}

test("an image that is chosen, dropped or pasted gives the numbers of the engine", async ({ page }) => {
  const messages = await open(page);
  const bytes = readFileSync(shoe);
  await sent(page, () => page.locator(".live input[type=file]").setInputFiles(shoe));
  await expect(status(page)).toContainText("It was inverted: its border is light");
  await expect(page.locator(".choice[aria-pressed=true]")).toHaveCount(1);
  await expectProbabilities(page, bytes);
  expect(new URL(page.url()).hash).toContain("image=1");

  await sent(page, () => give(page, "drop", bytes, "dropped.png"));
  await expect(status(page)).toContainText("dropped.png");
  await sent(page, () => give(page, "paste", bytes, "image.png"));
  await expect(status(page)).toContainText("pasted image 1");
  await expectProbabilities(page, bytes);
  await expect(page.getByRole("group", { name: "Yours" }).locator(".choice")).toHaveCount(3);

  for (const id of ["map", "arithmetic", "backward"]) await expect(page.locator(`#${id} .differs`)).toHaveCount(0);
  await expect(page.locator("#why .why")).toHaveCount(4);
  expect(messages).toEqual([]);
});

test("a drawing is one image, which changes with each stroke", async ({ page }) => {
  const messages = await open(page);
  const yours = page.getByRole("group", { name: "Yours" }).locator(".choice");
  const first = await sent(page, () => draw(page, [0.2, 0.3], [0.8, 0.3]));
  await expectProbabilities(page, first);
  const second = await sent(page, () => draw(page, [0.5, 0.3], [0.5, 0.9]));
  expect(second.equals(first)).toBe(false);
  await expect(page.locator(".answer")).toContainText("drawing 1");
  await expectProbabilities(page, second);
  await expect(yours).toHaveCount(1);
  await page.getByRole("button", { name: "Clear" }).click();
  await sent(page, () => draw(page, [0.3, 0.3], [0.7, 0.7]));
  await expect(status(page)).toContainText("drawing 2");
  await expect(yours).toHaveCount(2);
  await sent(page, () => page.getByRole("button", { name: "Black on white" }).click());
  await expect(status(page)).toContainText("inverted");
  await expect(yours).toHaveCount(2);
  expect(messages).toEqual([]);
});

test("the true class that one chooses is that of the loss", async ({ page }) => {
  await open(page);
  await sent(page, () => give(page, "drop", readFileSync(shoe), "boot.png"));
  const before = await page.locator("#backward").textContent();
  await sent(page, () =>
    page
      .getByLabel("True class of boot.png")
      .selectOption("Bag")
      .then(() => undefined),
  );
  await expect(page.locator("#predict")).toContainText("The true class is Bag.");
  expect(await page.locator("#backward").textContent()).not.toBe(before);
});

test("of many images the last are kept", async ({ page }) => {
  test.setTimeout(180_000);
  await open(page);
  const bytes = readFileSync(shoe);
  for (let i = 0; i < 21; i++) await sent(page, () => give(page, "drop", bytes, `boot ${i}.png`));
  await expect(page.getByRole("group", { name: "Yours" }).locator(".choice")).toHaveCount(20);
  await expect(page.locator(".live")).toContainText("Only your last 20 are kept: the oldest were dropped.");
  await expect(page.locator("#predict")).toContainText("boot 20.png. ");
});

test("what is no image is refused in one sentence, and the page lives on", async ({ page }) => {
  const messages = await open(page);
  await give(page, "drop", Buffer.from("no image"), "notes.txt");
  await expect(status(page)).toHaveText(/^notes.txt is not an image that can be read: expected JPEG, PNG/);
  await give(page, "drop", readFileSync(shoe).subarray(0, 200), "cut.png");
  await expect(status(page)).toHaveText(/^cut.png is damaged or cut short/);
  await give(page, "drop", Buffer.alloc(33 * 2 ** 20), "large.png");
  await expect(status(page)).toHaveText("large.png has 33 MB, and at most 32 MB can be sent: make it smaller.");
  await page.evaluate(() => document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true })));
  await expect(status(page)).toContainText("That was not a file");
  await sent(page, () => give(page, "drop", readFileSync(shoe), "shoe.png"));
  await expect(page.locator(".fault")).toHaveCount(0);
  // Chromium itself reports the two answers with status 400
  expect(messages.filter((text) => !text.includes("status of 400"))).toEqual([]);
});

test("of several files the answers stay beside the fault of one", async ({ page }) => {
  await open(page);
  const good = { mimeType: "image/png", buffer: readFileSync(shoe) };
  const bad = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no image") };
  const files = [{ name: "a.png", ...good }, { name: "b.png", ...good }, bad];
  await page.locator(".live input[type=file]").setInputFiles(files);
  await expect(page.locator(".fault")).toContainText("notes.txt is not an image", SLOW);
  await expect(status(page)).toContainText("b.png, in ");
  await expect(status(page).locator("strong")).toContainText(" %");
  await expect(page.getByRole("group", { name: "Yours" }).locator(".choice")).toHaveCount(2);
});

test("a net without classes answers with its outputs", async ({ page }) => {
  const regression = await serve("regression");
  try {
    await page.goto(regression.address);
    await page.waitForSelector("main[data-ready]");
    await expect(page.locator("header")).toContainText("No image was given");
    await sent(page, () => give(page, "drop", readFileSync(shoe), "shoe.png"));
    const first = (await page.locator("#predict .classes td").first().textContent())!;
    await expect(status(page).locator("strong")).toHaveText(`output 0: ${first}`);
    await expect(status(page)).toContainText("output 1: ");
  } finally {
    regression.process.kill("SIGINT");
  }
});

test("the keyboard alone chooses a file and a true class", async ({ page }) => {
  const chosen = page.waitForEvent("filechooser");
  await open(page);
  const button = page.getByRole("button", { name: "Choose a file" });
  await button.press("Enter");
  const chooser = await chosen;
  await sent(page, () => chooser.setFiles(shoe));
  await button.press("Tab");
  await expect(page.getByLabel("True class of")).toBeFocused();
});

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1200, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1200, height: 900 } },
  narrow: { colorScheme: "light", viewport: { width: 320, height: 700 } },
  forced: { colorScheme: "dark", forcedColors: "active", viewport: { width: 1200, height: 900 } },
} as const;

for (const [look, how] of Object.entries(LOOKS)) {
  test(`${look}: axe finds nothing, and nothing is cut off`, async ({ browser }) => {
    test.setTimeout(180_000);
    const context = await browser.newContext(how);
    const page = await context.newPage();
    await open(page);
    for (const step of ["before", "after"]) {
      if (step === "after") {
        const bad = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no image") };
        const good = { name: "shoe.png", mimeType: "image/png", buffer: readFileSync(shoe) };
        await page.locator(".live input[type=file]").setInputFiles([bad, good]);
        await expect(page.locator(".fault")).toHaveCount(1, SLOW);
        await expect(status(page)).toContainText(" ms.", SLOW);
      }
      const found = await new AxeBuilder({ page }).include("#predict").analyze();
      expect(found.violations.map(({ id, nodes }) => [id, nodes[0]?.html, nodes[0]?.failureSummary])).toEqual([]);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBeLessThanOrEqual(how.viewport.width);
    }
    await context.close();
  });
}
