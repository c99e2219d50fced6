const http = require('http'), {Pool} = require('pg');
const fault = (process.env.FAULTS || '').trim();
const pool = new Pool({connectionString: process.env.DATABASE_URL, max: 4});
let posts = 0;
async function start() {
  for (let n = 0; n < 100; n++) try { await pool.query('create table if not exists entries (id serial primary key, trip int, seats int, at timestamptz default now())'); break; } catch (e) { await new Promise(d => setTimeout(d, 100)); }
  await pool.query('truncate entries restart identity');
  await pool.query('insert into entries (trip, seats) select 1, 2 from generate_series(1, 12)');
  http.createServer(async (q, s) => {
    let body = ''; for await (const d of q) body += d;
    const say = (status, v) => { const t = JSON.stringify(v); s.writeHead(status, {'content-type': 'application/json', 'content-length': Buffer.byteLength(t)}); s.end(t); };
    if (q.url === '/health') return say(200, 'ok');
    const path = q.url.split('?')[0];
    try {
      if (q.method === 'POST') {
        if (fault === 'errors' && ++posts % 10 === 0) return say(500, {error: 'deadlock'});
        const b = JSON.parse(body);
        const r = await pool.query('insert into entries (trip, seats) values ($1, $2) returning id', [b.trip, b.seats]);
        return say(201, {id: r.rows[0].id, trip: b.trip});
      }
      const trip = Number(path.split('/')[2]);
      let rows = (await pool.query('select id, seats from entries where trip = $1 order by id limit 8', [trip])).rows;
      if (fault === 'n-plus-one') rows = await Promise.all(rows.map(async r => (await pool.query('select id, seats from entries where id = $1', [r.id])).rows[0]));
      say(200, {trip, entries: rows});
    } catch (e) { say(500, {error: String(e)}); }
  }).listen(4000);
}
start();
