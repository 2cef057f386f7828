import { Journey } from './Journey'

export function Landing({ onSignIn }: { onSignIn: () => void }) {
  return (
    <main className="landing">
      <section className="hero">
        <div>
          <h1>Signed in, with nothing to steal.</h1>
          <p className="lead">
            This app calls a protected API, yet no access token ever reaches the browser. It holds one cookie that scripts cannot
            read. bff keeps the tokens and adds them to each call on its way out.
          </p>
          <p className="actions">
            <button className="button primary" onClick={onSignIn}>
              Sign in
            </button>
            <span className="hint">You will be sent to your identity provider and back.</span>
          </p>
        </div>
        <Journey />
      </section>
      <section className="facts" aria-label="What bff takes off your hands">
        <article>
          <h2>One hook</h2>
          <p>
            <code>useSession()</code> says who is signed in, and hears at once when they no longer are, and why. Two files, and yours to copy.
          </p>
        </article>
        <article>
          <h2>One header</h2>
          <p>
            Calls are plain <code>fetch</code> with <code>X-CSRF: 1</code>. No token storage, no interceptor, no silent-renew
            iframe.
          </p>
        </article>
        <article>
          <h2>No surprises</h2>
          <p>
            Tokens are renewed before they run out, once, however many calls are waiting. An outage is an outage, not a sign-out.
          </p>
        </article>
      </section>
    </main>
  )
}
