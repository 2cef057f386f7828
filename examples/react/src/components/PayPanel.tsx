import { useEffect, useRef, useState } from 'react'
import { ApiError, apiJson } from '../api'
import { stepUp } from '../session'
import { useDraft } from '../useDraft'

const NOT_PAID = 'Nothing was paid.'

/** A call for which being signed in is not enough: the API wants to know anew, and for sure, who asks. */
export function PayPanel({ user }: { user: string }) {
  const reference = useDraft(user, 'reference', 'Invoice 2041')
  const [asked, setAsked] = useState<string | null>(null)
  const [said, setSaid] = useState<{ well: boolean; text: string } | null>(null)
  const [busy, setBusy] = useState(false)

  /** `confirmed`: it has just been asked for; to be asked again would go on for ever. */
  async function pay(confirmed = false) {
    setBusy(true)
    setSaid(null)
    try {
      await apiJson('/api/pay', { method: 'POST', body: { reference: reference.text, amount: '1240.00' } })
      setSaid({ well: true, text: `Paid: ${reference.text}.` })
    } catch (error) {
      const link = error instanceof ApiError ? error.stepUp : null
      if (link && !confirmed) setAsked(link)
      else setSaid({ well: false, text: link ? weaker : `${error instanceof Error ? error.message : error} ${NOT_PAID}` })
    }
    setBusy(false)
  }

  async function confirm(link: string) {
    const { outcome, error } = await stepUp(link)
    if (outcome === 'left') return
    setAsked(null)
    if (outcome === 'signed_in') await pay(true)
    else if (outcome === 'failed') setSaid({ well: false, text: failure(error) })
  }

  return (
    <section className="card pay" aria-label="Pay an invoice">
      <header>
        <div>
          <h2>Pay an invoice</h2>
          <p className="muted">A call that asks for a stronger sign-in first, and is made again after it.</p>
        </div>
      </header>
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault()
          void pay()
        }}
      >
        <label htmlFor="reference">For</label>
        <input id="reference" value={reference.text} onChange={(event) => reference.setText(event.target.value)} />
        <button className="button primary" disabled={busy}>
          {busy ? 'Paying…' : 'Pay €1,240.00'}
        </button>
      </form>
      {said && (
        <p className={said.well ? 'done' : 'failure'} role={said.well ? 'status' : 'alert'}>
          {said.text}
        </p>
      )}
      {asked && <Confirm onConfirm={() => confirm(asked)} onCancel={() => setAsked(null)} />}
    </section>
  )
}

const weaker = `Your identity provider did not confirm that strongly enough. ${NOT_PAID} You are still signed in.`

function failure(error?: string): string {
  if (error === 'step_up_failed') return weaker
  if (error === 'access_denied') return `You did not confirm. ${NOT_PAID}`
  return `That did not work. ${NOT_PAID} Please try again.`
}

/** The button opens a window, which browsers allow while a click is handled: hence a question, not the window at once. */
function Confirm({ onConfirm, onCancel }: { onConfirm: () => void; onCancel: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} className="ended" aria-labelledby="step-up-title" onClose={onCancel}>
      <h2 id="step-up-title">Confirm that it is you</h2>
      <p>This needs a stronger sign-in. It takes place in a small window; what you typed stays, and is sent right after it.</p>
      <form method="dialog" className="actions">
        <button type="button" className="button primary" autoFocus onClick={onConfirm}>
          Confirm
        </button>
        <button className="button quiet">Cancel</button>
      </form>
    </dialog>
  )
}
