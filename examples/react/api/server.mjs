// A stand-in for your API: says what reached it, with the token blanked. Node alone, nothing to install.
// A real API verifies the bearer token (signature, issuer, audience), or asks the provider's /userinfo where it is opaque,
// as that of `bff dev` is; this one only looks whether there is one.

import { createServer } from 'node:http'

const port = Number(process.env.PORT ?? 9000)

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://api')
  const [, token] = /^Bearer (.+)$/i.exec(req.headers.authorization ?? '') ?? []
  const headers = { ...req.headers }
  if (token) headers.authorization = `Bearer ${blanked(token)}`
  const received = { method: req.method, path: req.url, headers, bearer: Boolean(token), token: token && blanked(token) }

  if (!token) {
    res.setHeader('WWW-Authenticate', 'Bearer')
    answer(res, 401, { title: 'A bearer token is needed', status: 401, code: 'no_token' }, 'application/problem+json')
  } else if (req.method === 'GET' && url.pathname === '/api/hello') {
    answer(res, 200, received)
  } else if (req.method === 'POST' && (url.pathname === '/api/echo' || url.pathname === '/api/pay')) {
    const body = await text(req)
    answer(res, 200, { ...received, body: parsed(body) })
  } else {
    answer(res, 404, { title: 'No such thing', status: 404 }, 'application/problem+json')
  }
})

server.listen(port, '127.0.0.1', () => console.log(`API on http://127.0.0.1:${server.address().port}`))

function blanked(token) {
  return `•••••••• (${token.length} characters)`
}

function answer(res, status, body, type = 'application/json') {
  res.writeHead(status, { 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'no-store' })
  res.end(JSON.stringify(body))
}

async function text(req) {
  let body = ''
  for await (const chunk of req) {
    body += chunk
    if (body.length > 64 * 1024) break
  }
  return body
}

function parsed(body) {
  try {
    return JSON.parse(body)
  } catch {
    return body
  }
}
