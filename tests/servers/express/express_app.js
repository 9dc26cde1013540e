// The Express test server. Usage: node express_app.js PORT
'use strict';

const express = require('express');

const UPSTREAM = `http://127.0.0.1:${process.env.UPSTREAM || 9}`;
const COUNT_PATH = '/__count';
const BIO = 'Writes about rivers, bridges and the towns between them. '.repeat(14);

const app = express();
let served = 0;

app.use((req, res, next) => {
  if (req.path !== COUNT_PATH) served += 1;
  next();
});

app.get('/json', (req, res) => res.json({ message: 'Hello, World!' }));

app.get('/users/:id', (req, res) => {
  const id = Number(req.params.id);
  if (!id) return res.status(404).json({ error: 'no such user' });
  return res.json({
    id,
    name: `User ${id}`,
    email: `user${id}@example.com`,
    roles: ['reader', 'author'],
    address: { street: '1 Long Lane', city: 'Springfield', postcode: '12345', country: 'XX' },
    bio: BIO,
  });
});

app.get('/alloc', (req, res) => {
  const kb = Number(req.query.kb || 1);
  res.json({ kb, allocated: Buffer.alloc(kb * 1024).length });
});

app.get('/sleep', (req, res) => {
  const ms = Number(req.query.ms || 0);
  setTimeout(() => res.json({ slept: ms }), ms);
});

app.get('/db', async (req, res) => {
  try {
    const row = await fetch(`${UPSTREAM}/sleep?ms=${Number(req.query.ms || 0)}`);
    res.json({ row: await row.json() });
  } catch {
    res.status(502).json({ error: 'no upstream' });
  }
});

app.post('/echo', express.raw({ type: () => true, limit: '64mb' }), (req, res) => {
  res.type(req.get('content-type') || 'application/octet-stream').send(req.body);
});

app.get(COUNT_PATH, (req, res) => res.json({ count: served }));

app.listen(Number(process.argv[2]), '127.0.0.1', 1024);
