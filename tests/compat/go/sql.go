// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

const mb = 1 << 20

func told(step string, found any, err error) {
	var refused *mysql.MySQLError
	switch {
	case errors.As(err, &refused):
		fmt.Printf("%s: %d %s %s\n", step, refused.Number, refused.SQLState, refused.Message)
	case err != nil:
		fmt.Printf("%s: %v\n", step, err)
	default:
		fmt.Printf("%s: %v\n", step, found)
	}
}

// open is a pool as DM makes its own (interpolated parameters) or with prepared statements.
func open(interpolate bool) *sql.DB {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = os.Getenv("COMPAT_USER"), os.Getenv("COMPAT_PASSWORD"), "test"
	config.Net, config.Addr = "tcp", net.JoinHostPort(os.Getenv("COMPAT_HOST"), os.Getenv("COMPAT_PORT"))
	config.InterpolateParams, config.MultiStatements, config.MaxAllowedPacket = interpolate, true, 0
	config.Params = map[string]string{"charset": "utf8mb4", "foreign_key_checks": "0"}
	config.TLS = tlsConfig()
	connector, err := mysql.NewConnector(config)
	must(err)
	return sql.OpenDB(connector)
}

// ask prints all results of a statement, row by row.
func ask(db *sql.DB, step, text string, args ...any) {
	rows, err := db.Query(text, args...)
	if err != nil {
		told(step, nil, err)
		return
	}
	defer rows.Close()
	for more := true; more; more = rows.NextResultSet() {
		columns, err := rows.Columns()
		must(err)
		for rows.Next() {
			values := make([]sql.NullString, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			must(rows.Scan(into...))
			told(step, values, nil)
		}
	}
	told(step, "end", rows.Err())
}

func exec(db *sql.DB, step, text string, args ...any) {
	result, err := db.Exec(text, args...)
	if err != nil {
		told(step, nil, err)
		return
	}
	changed, _ := result.RowsAffected()
	last, _ := result.LastInsertId()
	told(step, []int64{changed, last}, nil)
}

func transactions(db *sql.DB) {
	tx, err := db.Begin()
	must(err)
	statement, err := tx.Prepare("INSERT INTO g (id, s) VALUES (?, ?)")
	must(err)
	for i := 100; i < 400; i++ {
		_, err = statement.Exec(i, strings.Repeat("g", i))
		must(err)
	}
	must(statement.Close())
	must(tx.Commit())
	tx, err = db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	must(err)
	_, err = tx.Exec("DELETE FROM g")
	told("write in a read-only transaction", nil, err)
	must(tx.Rollback())
	ask(db, "after transactions", "SELECT COUNT(*), SUM(id), SUM(LENGTH(s)) FROM g")
}

func inParallel(db *sql.DB) {
	var group sync.WaitGroup
	found := make([]int, 40)
	for i := range found {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := db.QueryRow("SELECT ? + SLEEP(0.002)", i).Scan(&found[i]); err != nil {
				found[i] = -1
			}
		}()
	}
	group.Wait()
	told("in parallel", found, nil)
}

func runSQL(path string) {
	for _, interpolate := range []bool{true, false} {
		db := open(interpolate)
		must(db.Ping())
		_, err := db.Exec("DROP TABLE IF EXISTS g")
		must(err)
		exec(db, "create", "CREATE TABLE g (id BIGINT PRIMARY KEY AUTO_INCREMENT, s LONGTEXT, at DATETIME(6), d DECIMAL(20,5), b BIT(3))")
		exec(db, "insert", "INSERT INTO g VALUES (?, ?, ?, ?, ?)", 1, "é😀", "2024-02-29 01:02:03.000004", "1.5", 5)
		exec(db, "again", "INSERT INTO g (id) VALUES (?)", 1)
		exec(db, "nulls", "INSERT INTO g (s) VALUES (?)", nil)
		ask(db, "rows", "SELECT * FROM g WHERE id < ? ORDER BY id", 100)
		ask(db, "nothing", "SELECT nothing FROM g")
		if interpolate {
			ask(db, "several", "SELECT 1; SELECT id FROM g ORDER BY id; DO 1; SELECT 3")
			ask(db, "error between", "SELECT 1; SELECT nothing; SELECT 3")
		}
		transactions(db)
		inParallel(db)
		ask(db, "64 MB", "SELECT LENGTH(?), SHA2(?, 256)", strings.Repeat("p", 64*mb), "x")
		var row string
		must(db.QueryRow("SELECT REPEAT('r', ?)", 64*mb).Scan(&row))
		told("row of 64 MB", []int{len(row), strings.Count(row, "r")}, nil)
		exec(db, "truncate", "TRUNCATE TABLE g")
		mysql.RegisterLocalFile(path)
		exec(db, "load", "LOAD DATA LOCAL INFILE '"+path+"' INTO TABLE g (id, s)")
		exec(db, "load what is not allowed", "LOAD DATA LOCAL INFILE '/not/allowed' INTO TABLE g (id, s)")
		ask(db, "loaded", "SELECT COUNT(*), SUM(id) FROM g")
		must(db.Close())
	}
}
