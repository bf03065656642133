// SPDX-License-Identifier: Apache-2.0
// A little of all that go-sql-driver/mysql does, for record_clients.py. usage: driver PORT USER PASSWORD FILE

package main

import (
	"database/sql"
	"os"

	"github.com/go-sql-driver/mysql"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// read takes all rows of all results; a refusal is what some statements are there for.
func read(rows *sql.Rows, err error) {
	if err != nil {
		return
	}
	defer rows.Close()
	for more := true; more; more = rows.NextResultSet() {
		for rows.Next() {
		}
	}
}

// work has the parameters go inside the text, as DM does, or by prepared statements.
func work(interpolate bool, port, user, password, file string) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName, config.Net, config.Addr = user, password, "test", "tcp", "127.0.0.1:"+port
	config.InterpolateParams, config.MultiStatements = interpolate, true
	mysql.RegisterLocalFile(file)
	connector, err := mysql.NewConnector(config)
	must(err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	must(db.Ping())
	_, err = db.Exec("CREATE TABLE g (id INT PRIMARY KEY, s TEXT)")
	must(err)
	_, err = db.Exec("LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE g")
	must(err)
	read(db.Query("SELECT * FROM g; DO 1; SELECT 2"))
	read(db.Query("SELECT * FROM g WHERE id > ?", 2))
	read(db.Query("SELEKT ?", 1))
	t, err := db.Begin()
	must(err)
	_, err = t.Exec("INSERT INTO g VALUES (?, ?)", 1000, "é😀")
	must(err)
	_, _ = t.Exec("INSERT INTO g VALUES (?, ?)", 1000, "again")
	must(t.Rollback())
	_, err = db.Exec("DROP TABLE g")
	must(err)
	must(db.Close())
}

func main() {
	work(true, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	work(false, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
}
