// The web page in headless Chromium, against HEARTH_URL. Screenshots go to HEARTH_SCREENSHOTS.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const url = process.env.HEARTH_URL
const screenshots = process.env.HEARTH_SCREENSHOTS ?? '/tmp/hearth-screenshots'
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Where Debian, others and HEARTH_CHROMIUM have the browser. */
function findChromium() {
  return [process.env.HEARTH_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
    (path) => path && existsSync(path),
  )
}

if (!findChromium()) {
  console.error('skipped: there is no Chromium (apt-get install chromium, or set HEARTH_CHROMIUM)')
  process.exit(77)
}
await mkdir(screenshots, { recursive: true })
const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] })
const problems = []
const foreign = []

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 820 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => {
    // Refused requests are told, too; what they mean is tested below.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) problems.push(message.text())
  })
  page.on('request', (request) => {
    const to = new URL(request.url())
    if (to.origin !== new URL(url).origin && to.protocol !== 'data:') foreign.push(request.url())
  })
  await page.goto(url, { waitUntil: 'load' })
  return page
}

const shot = (page, name) => page.screenshot({ path: join(screenshots, `${name}.png`) })

/** Serious findings of axe in what is shown now. */
async function audit(page, where) {
  // In the isolated world of the debugger: the page's own policy stays as it is.
  const { violations } = await page.evaluate(async (source) => {
    const run = new Function(`${source}; return window.axe`)
    return run().run(document, { resultTypes: ['violations'] })
  }, axe).catch(async () => {
    await page.addScriptTag({ content: axe })
    return page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  })
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(
    serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`),
    [],
    `axe on ${where}`,
  )
}

const box = (page) => page.getByRole('textbox', { name: 'Your message' })
const idle = (page) => page.getByRole('button', { name: 'Send' }).waitFor()

async function say(page, text) {
  await box(page).fill(text)
  await box(page).press('Enter')
}

const steps = {
  async 'an empty conversation says which model answers'(page) {
    await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor()
    await page.locator('.abilities li').first().waitFor()
    await page.getByRole('button', { name: /^Model:/ }).click()
    await page.getByRole('option').first().waitFor()
    // The test server's model that goes on until it is stopped.
    const endless = page.getByRole('option', { name: /tiny-endless/ })
    if (await endless.count()) await endless.click()
    else await page.keyboard.press('Escape')
    await audit(page, 'the empty conversation')
    await shot(page, '01-empty-light')
  },

  async 'an answer is streamed, and can be stopped'(page) {
    await say(page, 'Tell me a long, slow story about Lily and the unusual xylophone.')
    const answer = page.locator('.message.assistant').last()
    await answer.locator('> .markdown').waitFor()
    const early = (await answer.innerText()).length
    await page.waitForFunction((length) => document.querySelector('.message.assistant').innerText.length > length + 20, early)
    await shot(page, '02-streaming')
    await page.getByRole('button', { name: 'Stop' }).click()
    await idle(page)
    await answer.getByText('stopped').waitFor()
    const stopped = await answer.innerText()
    await page.waitForTimeout(300)
    assert.equal(await answer.innerText(), stopped, 'nothing arrives after stopping')
    assert.match(page.url(), /#\/c\/\w+$/)
  },

  async 'another answer begins a branch, and both are kept'(page) {
    await page.getByRole('button', { name: 'Try again' }).last().click()
    await page.locator('.message.assistant > .markdown').waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await idle(page)
    await page.getByText('2/2').waitFor()
    await page.getByRole('button', { name: 'Previous version' }).click()
    await page.getByText('1/2').waitFor()
  },

  async 'settings are kept with the conversation'(page) {
    await page.getByRole('button', { name: 'Settings of this conversation' }).click()
    await page.getByLabel('Instructions').fill('Answer briefly.')
    await page.getByLabel('Temperature', { exact: true }).fill('0.5')
    await page.getByLabel('Longest answer').fill('40')
    await audit(page, 'the settings')
    await shot(page, '04-settings')
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
  },

  async 'a question is edited on a branch of its own'(page) {
    await page.locator('.message.user').hover()
    await page.getByRole('button', { name: 'Edit' }).click()
    await page.getByRole('textbox', { name: 'Edit the message' }).fill('Once upon a time there was a heron.')
    await page.getByRole('button', { name: 'Send again' }).click()
    await page.locator('.message.user').getByText('2/2').waitFor()
    await page.getByRole('button', { name: 'Try again' }).waitFor({ timeout: 120_000 })
    await page.locator('.message.user').getByRole('button', { name: 'Previous version' }).click()
    await page.getByText('unusual xylophone').first().waitFor()
    await page.locator('.message.user').getByRole('button', { name: 'Next version' }).click()
    await shot(page, '03-answer-light')
    await audit(page, 'an answer')
  },

  async 'a text file is attached'(page) {
    await page.locator('input[type=file]').setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('The heron is grey.\n') })
    await page.getByText('notes.txt').waitFor()
    await page.locator('input[type=file]').setInputFiles({ name: 'picture.bin', mimeType: 'image/png', buffer: Buffer.from([0xff, 0xd8, 0, 1]) })
    await page.getByText('picture.bin is no text').waitFor()
    await say(page, 'What colour is it?')
    await page.locator('.attachment').getByText('notes.txt').waitFor()
    await page.getByRole('button', { name: 'Stop' }).click({ timeout: 5000 }).catch(() => undefined)
    await idle(page)
  },

  async 'after a reload the conversation is there, and is found'(page) {
    await page.reload()
    await page.getByText('Once upon a time there was a heron.').first().waitFor()
    await page.getByRole('button', { name: 'Settings of this conversation' }).click()
    assert.equal(await page.getByLabel('Temperature', { exact: true }).inputValue(), '0.5')
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.keyboard.press('Alt+n')
    await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor()
    assert.equal(await page.evaluate(() => document.activeElement.id), 'composer', 'one can write at once')
    await page.keyboard.press('Control+k')
    await page.keyboard.type('xylophone unusual')
    const found = page.locator('.conversations .item')
    await page.locator('.item-snippet').waitFor()
    assert.equal(await found.count(), 1)
    await shot(page, '05-search')
    await found.getByRole('link').click()
    await page.getByText('heron').first().waitFor()
    await page.getByRole('searchbox').fill('nothingsayssuchaword')
    await page.getByText('Nothing found.').waitFor()
    await page.getByRole('searchbox').fill('')
    await found.first().waitFor()
  },

  async 'the model is switched with the keyboard'(page) {
    const button = page.getByRole('button', { name: /^Model:/ })
    const before = await button.getAttribute('aria-label')
    await button.press('Enter')
    const options = page.getByRole('option')
    await options.first().waitFor()
    assert.ok((await options.count()) >= 2, 'the server has two models')
    await audit(page, 'the model picker')
    await shot(page, '06-models-list')
    await page.keyboard.press((await options.first().getAttribute('aria-selected')) === 'true' ? 'ArrowDown' : 'ArrowUp')
    await page.keyboard.press('Enter')
    const after = await button.getAttribute('aria-label')
    assert.notEqual(after, before)
    await say(page, 'And now you.')
    await page.locator('.message.assistant').last().getByText(after.replace('Model: ', '')).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click({ timeout: 5000 }).catch(() => undefined)
    await idle(page)
  },

  async 'models are shown with what the plan says'(page) {
    await page.getByRole('link', { name: 'Models', exact: true }).click()
    await page.locator('.model-card').first().waitFor()
    await audit(page, 'the models')
    await shot(page, '07-models')
  },

  async 'the machine page shows live numbers'(page) {
    await page.keyboard.press('Alt+n')
    await page.getByRole('button', { name: 'Settings of this conversation' }).click()
    await page.getByRole('button', { name: 'Back to the model' }).click()
    await page.keyboard.press('Escape')
    await say(page, 'Tell me something long and slow.')
    await page.locator('.message.assistant').waitFor()
    await page.getByRole('link', { name: 'Machine', exact: true }).click()
    await page.getByRole('img', { name: /^Memory:/ }).waitFor()
    await page.waitForFunction(() => parseFloat(document.querySelector('[data-testid=live-generated]').textContent) > 0)
    await page.getByRole('img', { name: /^KV memory of/ }).first().waitFor()
    await page.waitForTimeout(2500)
    await audit(page, 'the machine')
    await shot(page, '08-machine-light')
    await page.getByRole('button', { name: 'Dark' }).click()
    await audit(page, 'the machine, dark')
    await shot(page, '09-machine-dark')
    await page.goBack()
    await audit(page, 'the chat, dark')
    await shot(page, '10-chat-dark')
    await page.getByRole('button', { name: 'Stop' }).click({ timeout: 2000 }).catch(() => undefined)
    await idle(page)
  },

  async 'a conversation is deleted, and that is undone'(page) {
    const items = page.locator('.conversations .item')
    const all = await items.count()
    await items.first().hover()
    await items.first().getByRole('button').click()
    await page.getByRole('button', { name: 'Undo' }).waitFor()
    assert.equal(await items.count(), all - 1)
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.waitForFunction((count) => document.querySelectorAll('.conversations .item').length === count, all)
  },
}

async function phone() {
  const page = await open({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 })
  await page.locator('.abilities li').first().waitFor()
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
  assert.ok(await fits(), 'nothing is wider than the phone')
  await shot(page, '11-phone-empty')
  await audit(page, 'a phone')
  await page.getByRole('button', { name: 'Conversations and pages' }).click()
  await page.locator('.sidebar.open').waitFor()
  await page.waitForTimeout(300)
  await shot(page, '12-phone-list')
  await audit(page, 'a phone with the list open')
  await page.locator('.conversations .item a').last().click()
  await page.locator('.message').first().waitFor()
  assert.ok(await fits(), 'nothing is wider than the phone')
  await page.waitForTimeout(300)
  await shot(page, '13-phone-chat')
  await page.goto(`${url}/#/machine`)
  await page.getByRole('img', { name: /^Memory:/ }).waitFor()
  assert.ok(await fits(), 'nothing is wider than the phone')
  await shot(page, '14-phone-machine')
}

try {
  const page = await open()
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step(page)
    } catch (error) {
      await shot(page, 'failed')
      throw new Error(`${name}: ${error.stack}`)
    }
    console.log(`ok   page: ${name}`)
  }
  await phone()
  console.log('ok   page: it is usable on a phone')
  assert.deepEqual(problems, [], 'errors on the console')
  assert.deepEqual(foreign, [], 'requests to others')
  console.log('ok   page: no error on the console, nobody else was asked for anything')
} finally {
  await browser.close()
}
