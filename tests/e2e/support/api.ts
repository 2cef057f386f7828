// The upstream: an API that takes only access tokens which the provider gave out and which still live.

import { createServer, type IncomingMessage } from 'node:http'
import { close, listen } from './ports'

export interface Seen {
  method: string
  path: string
  headers: IncomingMessage['headers']
  token: string | null
}

export type RunningApi = Awaited<ReturnType<typeof startApi>>

export async function startApi(tokenIsGood: (token: string) => Promise<boolean>) {
  const seen: Seen[] = []
  const server = createServer(async (req, res) => {
    const path = req.url ?? '/'
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? null
    let body = ''
    for await (const chunk of req) body += chunk

    if (path.startsWith('/links')) {
      // A page of another site that links to the app.
      res.writeHead(200, { 'Content-Type': 'text/html' })
      res.end(`<!doctype html><link rel="icon" href="data:,"><a href="${new URL(path, 'http://x').searchParams.get('to')}">Go</a>`)
      return
    }

    if (path.startsWith('/widgets') || path.startsWith('/next')) {
      // What a stranger may have put there, with all that it would like to be.
      const hostile = {
        'Service-Worker-Allowed': '/',
        NEL: '{"report_to":"elsewhere","max_age":600}',
        'Report-To': '{"group":"elsewhere","max_age":600,"endpoints":[{"url":"https://elsewhere.example/"}]}',
      }
      res.writeHead(200, { 'Content-Type': 'text/javascript', ...hostile })
      res.end("addEventListener('fetch', (event) => event.respondWith(new Response('taken over')))")
      return
    }

    seen.push({ method: req.method ?? '', path, headers: req.headers, token })
    if (!token || !(await tokenIsGood(token))) {
      res.writeHead(401, { 'Content-Type': 'application/json', 'WWW-Authenticate': 'Bearer' }).end('{"title":"no good token"}')
      return
    }
    if (path.startsWith('/members')) {
      res.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>Members</title><h1>Members only</h1>')
      return
    }
    const headers = { ...req.headers, authorization: 'Bearer ••••' }
    const blanked = `•••• (${token.length} characters)`
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.end(JSON.stringify({ method: req.method, path, headers, bearer: true, token: blanked, ...(body && { body: JSON.parse(body) }) }))
  })
  const origin = `http://127.0.0.1:${await listen(server)}`
  return { origin, seen, stop: () => close(server) }
}
