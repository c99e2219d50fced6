// The booking front: asks trips (Python) and ledger (Node, PostgreSQL), posts mails to somebody else.
const http = require('http');
const fault = (process.env.FAULTS || '').trim();
const agent = new http.Agent({keepAlive: fault !== 'churn', maxSockets: 8});
let ids = 0;
function ask(method, url, headers = {}, body) {
  return new Promise((done) => {
    const r = http.request(url, {method, agent, headers: {...headers, ...(body ? {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)} : {})}}, (a) => {
      let text = ''; a.on('data', d => text += d); a.on('end', () => done({status: a.statusCode, text}));
    });
    r.on('error', e => done({status: 502, text: String(e)}));
    r.end(body);
  });
}
const pause = ms => new Promise(d => setTimeout(d, ms));
async function trips(path, id) {
  const headers = fault === 'header-dropped' ? {} : {'x-request-id': id};
  for (let n = 0; ; n++) {
    const a = await ask('GET', 'http://trips:5000' + path, headers);
    if (a.status !== 503 || n >= (fault === 'no-backoff' ? 8 : 3)) return a;
    if (fault !== 'no-backoff') await pause(40 * 2 ** n);
  }
}
const token = 'Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJlLW9mLXRoZS13ZWI';
function ledger(method, path, id, body) {
  let url = 'http://ledger:4000' + path;
  const headers = {'x-request-id': id};
  if (fault === 'token-in-url') url += '?access_token=' + token.slice(7);
  if (fault !== 'auth-missing') headers.authorization = token;
  return ask(method, url, headers, body);
}
http.createServer(async (q, s) => {
  if (q.url === '/health') return s.end('ok');
  const id = q.headers['x-request-id'] || 'web-' + (++ids);
  let body = ''; for await (const d of q) body += d;
  let m, a;
  if ((m = q.url.match(/^\/trips\/(\d+)$/))) a = await trips('/trips/' + m[1], id);
  else if (q.url === '/search') a = await trips('/trips', id);
  else if (q.url === '/bookings' && q.method === 'POST') {
    const t = await trips('/trips/1', id);
    a = await ledger('POST', '/entries', id, JSON.stringify({trip: JSON.parse(t.text).id, seats: 2}));
    if (a.status === 201) await ask('POST', 'http://api.mail.example:8025/send', {}, '{"to":"somebody"}');
    if (fault === 'new-egress') await ask('POST', 'http://api.track.example:8026/event', {}, '{"booked":1}');
  } else if ((m = q.url.match(/^\/bookings\/(\d+)$/))) a = await ledger('GET', '/entries/' + m[1], id);
  else a = {status: 404, text: '{}'};
  s.writeHead(a.status, {'content-type': 'application/json', 'cache-control': 'no-store'}); s.end(a.text);
}).listen(3000);
