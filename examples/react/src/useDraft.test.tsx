import { act } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { useDraft } from './useDraft'

let root: Root
let draft: ReturnType<typeof useDraft>

beforeEach(() => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
  sessionStorage.clear()
})

afterEach(async () => {
  await act(async () => root.unmount())
  vi.unstubAllGlobals()
})

async function open({ user = 'alice', initial = '' } = {}) {
  function Form() {
    draft = useDraft(user, 'order', initial)
    return null
  }
  root = createRoot(document.createElement('div'))
  await act(async () => root.render(<Form />))
}

async function reload(as: { user?: string; initial?: string } = {}) {
  await act(async () => root.unmount())
  await open(as)
}

const type = (text: string) => act(async () => draft.setText(text))

test('what was typed is there after a reload', async () => {
  await open()
  await type('three pears')
  await reload()
  expect(draft.text).toBe('three pears')
})

/** It came back. */
test('what was emptied stays empty', async () => {
  await open()
  await type('secret words')
  await type('')
  await reload()
  expect(draft.text).toBe('')
  expect(sessionStorage.length).toBe(0)
})

test('a proposal that was emptied stays empty too', async () => {
  await open({ initial: 'proposed' })
  await type('')
  await reload({ initial: 'proposed' })
  expect(draft.text).toBe('')
})

test('what has arrived is forgotten', async () => {
  await open()
  await type('three pears')
  draft.sent()
  await reload()
  expect(draft.text).toBe('')
})

test('nobody sees what another user typed', async () => {
  await open()
  await type('three pears')
  await reload({ user: 'bob' })
  expect(draft.text).toBe('')
  await reload()
  expect(draft.text).toBe('')
})
