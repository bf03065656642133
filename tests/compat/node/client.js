// SPDX-License-Identifier: Apache-2.0
// mysql2's own ways: pool, prepared statements, several results, streams, LOCAL INFILE, changeUser, reset, rows of 64 MB.
// Connects as the environment says (COMPAT_*); prints one line of JSON for each step. usage: node client.js FILE
'use strict';
const fs = require('fs');
const crypto = require('crypto');
const mysql = require('mysql2/promise');

const MB = 1024 * 1024;
const env = process.env;
const options = {
    host: env.COMPAT_HOST, port: Number(env.COMPAT_PORT), user: env.COMPAT_USER, password: env.COMPAT_PASSWORD,
    database: 'test', multipleStatements: true, supportBigNumbers: true, dateStrings: true,
    ...(env.COMPAT_CA ? { ssl: { ca: fs.readFileSync(env.COMPAT_CA), verifyIdentity: false } } : {}),
};

function tell(step, found) {
    console.log(JSON.stringify([step, found]));
}

async function attempt(step, work) {
    try {
        tell(step, await work());
    } catch (error) {
        tell(step, { errno: error.errno, state: error.sqlState, text: error.sqlMessage });
    }
}

async function texts(c) {
    await c.query('DROP TABLE IF EXISTS n');
    await attempt('table', async () => (await c.query('DO 0; CREATE TABLE n (id BIGINT PRIMARY KEY, s TEXT, j JSON)'))[0]);
    await attempt('insert', async () => (await c.query('INSERT INTO n VALUES ?', [[[1, 'é😀', '{"a":1}'], [2, null, null]]]))[0]);
    await attempt('again', async () => (await c.query('INSERT INTO n VALUES (1, NULL, NULL)'))[0]);
    await attempt('several', async () => (await c.query('SELECT * FROM n ORDER BY id; SELECT 1 WHERE 0; DO 1; SELECT 2'))[0]);
    await attempt('error between', async () => (await c.query('SELECT 1; SELECT nothing; SELECT 2'))[0]);
    await attempt('ping', async () => c.ping());
}

async function prepared(c) {
    await attempt('execute', async () => (await c.execute('SELECT ? + 1 AS x, ? AS s, CAST(? AS DATETIME(3)) AS d',
        [41, 'text', '2024-02-29 01:02:03.004']))[0]);
    await attempt('execute many', async () => {
        const statement = await c.prepare('INSERT INTO n (id, s) VALUES (?, ?)');
        await c.beginTransaction();
        for (let i = 10; i < 300; i++) await statement.execute([i, 's'.repeat(i)]);
        await c.commit();
        await statement.close();
        return (await c.execute('SELECT COUNT(*), SUM(id), SUM(LENGTH(s)) FROM n'))[0];
    });
    await attempt('execute what is no statement', async () => c.execute('SELECT FROM'));
    await attempt('procedure', async () => {
        await c.query('DROP PROCEDURE IF EXISTS two');
        await c.query('CREATE PROCEDURE two (n INT) BEGIN SELECT n AS first; SELECT id FROM n WHERE id < n ORDER BY id; END');
        return (await c.execute('CALL two(?)', [12]))[0];
    });
}

function digestOfStream(c, sql) {
    return new Promise((resolve, reject) => {
        const hash = crypto.createHash('sha256');
        let rows = 0;
        c.connection.query(sql).stream({ highWaterMark: 5 })
            .on('data', (row) => { rows++; hash.update(JSON.stringify(row)); })
            .on('end', () => resolve([rows, hash.digest('hex')]))
            .on('error', reject);
    });
}

async function big(c) {
    await attempt('stream', async () => digestOfStream(c, 'SELECT a.id, b.s FROM n a JOIN n b ORDER BY a.id, b.id LIMIT 20000'));
    for (const size of [0xffffff - 4, 64 * MB]) {
        await attempt(`row of ${size}`, async () => (await c.query('SELECT REPEAT("n", ?) AS r', [size]))[0][0].r.length);
        await attempt(`parameter of ${size}`, async () => (await c.execute('SELECT LENGTH(?) AS l', [Buffer.alloc(size, 'p')]))[0]);
    }
}

async function users(c) {
    const who = 'SELECT SUBSTRING_INDEX(CURRENT_USER(), "@", 1) AS u, DATABASE() AS d, @v AS v';
    await attempt('set', async () => (await c.query('SET @v = 5'))[0]);
    await attempt('before', async () => (await c.query(who))[0]);
    await attempt('reset', async () => { await c.reset(); return (await c.query(who))[0]; });
    await attempt('change user', async () => {
        await c.query('SET @v = 6');
        await c.changeUser({ user: env.COMPAT_OTHER, password: env.COMPAT_OTHER_PASSWORD, database: 'mysql' });
        return (await c.query(who))[0];
    });
    await attempt('change back', async () => {
        await c.changeUser({ user: options.user, password: options.password, database: 'test' });
        return (await c.execute(who))[0];
    });
}

async function infile(c, path) {
    await attempt('infile', async () => {
        await c.query('TRUNCATE TABLE n');
        const sql = `LOAD DATA LOCAL INFILE '${path}' INTO TABLE n (id, s)`;
        const found = (await c.query({ sql, infileStreamFactory: () => fs.createReadStream(path) }))[0];
        return [found.affectedRows, (await c.query('SELECT COUNT(*), SUM(id) FROM n'))[0]];
    });
}

async function pools() {
    const pool = mysql.createPool({ ...options, connectionLimit: 4 });
    await attempt('pool', async () => {
        const found = await Promise.all(Array.from({ length: 40 }, (_, i) => pool.execute('SELECT ? AS i, SLEEP(0.005)', [i])));
        return found.map((one) => one[0][0].i);
    });
    await pool.end();
}

async function main() {
    const c = await mysql.createConnection(options);
    await texts(c);
    await prepared(c);
    await big(c);
    await infile(c, process.argv[2]);
    await users(c);
    await c.end();
    await pools();
}

main().catch((error) => { console.error(error); process.exit(1); });
