// SPDX-License-Identifier: Apache-2.0
// A little of all that mysql2 does, for record_clients.py. usage: node mysql2.js PORT USER PASSWORD FILE
'use strict';
const fs = require('fs');
const mysql = require('mysql2/promise');

const [port, user, password, file] = process.argv.slice(2);

async function main() {
    const c = await mysql.createConnection({ host: '127.0.0.1', port: Number(port), user, password, database: 'test',
                                             multipleStatements: true, infileStreamFactory: () => fs.createReadStream(file) });
    await c.query('CREATE TABLE n (id INT PRIMARY KEY, s TEXT)');
    await c.query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE n");
    await c.query('SELECT * FROM n; SELECT 1 WHERE 0; DO 1; SELECT 2');
    await c.query('SELEKT 1').catch(() => {});
    await c.beginTransaction();
    await c.execute('INSERT INTO n VALUES (?, ?)', [1000, 'é😀']);
    await c.execute('INSERT INTO n VALUES (?, ?)', [1000, 'again']).catch(() => {});
    await c.execute('SELECT * FROM n WHERE id > ?', [2]);
    await c.rollback();
    await c.ping();
    await new Promise((resolve, reject) =>
        c.connection.query('SELECT * FROM n').stream().on('data', () => {}).on('end', resolve).on('error', reject));
    await c.changeUser({ user, password, database: 'test' });
    await c.reset();
    await c.query('DROP TABLE n');
    await c.end();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
