// Open a study in OHIF, show series after series, photograph each. Asked by JSON on standard input, answers in JSON.
//
// Asked:    {chromium, profile, url, folder, series: [{name, description}], seconds}
// Answered: {descriptions, shown: [{name, screenshot, text, overlay, pane, caught}], crashes, console}
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const asked = JSON.parse(readFileSync(0, 'utf8'));
const answer = { descriptions: [], shown: [], crashes: [], console: [] };
// what OHIF's own error boundary caught since the last picture
let caught = [];
const patience = asked.seconds * 1000;

const THUMBNAIL = '[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]';
const PANE = '[data-cy="viewport-pane"]';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Keep what the page complains of. */
function listen(page) {
  page.on('crash', () => answer.crashes.push('the page crashed'));
  page.on('pageerror', error => answer.crashes.push(`uncaught: ${error.message}`));
  page.on('console', message => {
    if (message.text().includes('Error Boundary')) caught.push(message.text());
    if (message.type() === 'error') answer.console.push(message.text());
  });
  page.on('response', response => {
    if (response.status() >= 400) answer.console.push(`${response.status()} ${response.url()}`);
  });
}

/** A picture of the page that is the same as half a second before: nothing is being drawn any more. */
async function steady(page) {
  const end = Date.now() + patience;
  let before = await page.screenshot();
  while (Date.now() < end) {
    await page.waitForTimeout(500);
    const now = await page.screenshot();
    if (now.equals(before)) return;
    before = now;
  }
  throw new Error('the page never comes to rest');
}

/** Put a series into the viewport and photograph the page. */
async function show(page, { name, description }) {
  const label = page.getByText(description, { exact: true });
  const thumbnail = page.locator(THUMBNAIL).filter({ has: label }).first();
  await thumbnail.dblclick({ timeout: patience });
  // the thumbnail's tooltip would lie upon the picture
  await page.mouse.move(5, 900);
  await page.waitForTimeout(500);
  await steady(page);
  const screenshot = join(asked.folder, `${name}.png`);
  await page.screenshot({ path: screenshot });
  answer.shown.push({
    name,
    screenshot,
    text: await page.locator('body').innerText(),
    overlay: await page.locator(PANE).first().innerText(),
    caught,
    pane: await page.locator(PANE).first().boundingBox(),
  });
  caught = [];
}

const browser = await chromium.launchPersistentContext(asked.profile, {
  executablePath: asked.chromium,
  args: FLAGS,
  viewport: { width: 1400, height: 1000 },
  timeout: patience,
});
try {
  // the tour for a new user would cover the page; frames within it have no storage
  await browser.addInitScript(() => window === window.top && localStorage.setItem('shownTours', '["basicViewerTour"]'));
  const page = browser.pages()[0] ?? (await browser.newPage());
  listen(page);
  await page.goto(asked.url, { timeout: patience });
  await page.waitForSelector(THUMBNAIL, { timeout: patience });
  await steady(page);
  answer.descriptions = await page.locator('[data-cy="series-description-label"]').allInnerTexts();
  for (const each of asked.series) await show(page, each);
} catch (error) {
  answer.crashes.push(error.message);
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(answer));
