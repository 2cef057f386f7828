// A stand-in for your API. A real one verifies the bearer token (signature, issuer, audience); this one only looks
// whether there is one.

import { createServer } from 'node:http'

const orders = [
  { number: 17, what: 'three lamps' },
  { number: 18, what: 'a chair' },
]

const server = createServer((req, res) => {
  const found = req.url === '/orders'
  const signedIn = /^Bearer .+$/i.test(req.headers.authorization ?? '')
  res.writeHead(found ? (signedIn ? 200 : 401) : 404, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
  res.end(JSON.stringify(found && signedIn ? orders : null))
})

server.listen(Number(process.env.PORT ?? 9000), '127.0.0.1', () => console.log(`API on http://127.0.0.1:${server.address().port}`))
