// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

func printResult(step string, result *mysql.Result, err error) {
	var refused *mysql.MyError
	if errors.As(err, &refused) {
		fmt.Printf("%s: %d %s %s\n", step, refused.Code, refused.State, refused.Message)
		return
	}
	must(err)
	if result.Resultset == nil {
		fmt.Printf("%s: status %d affected %d last %d\n", step, result.Status, result.AffectedRows, result.InsertId)
		return
	}
	for _, row := range result.Values {
		fmt.Print(step, ":")
		for i := range row {
			fmt.Printf(" %q", fmt.Sprint(row[i].Value()))
		}
		fmt.Println()
	}
}

// runClient is go-mysql's own client: its packets are not the driver's.
func runClient() {
	address := net.JoinHostPort(os.Getenv("COMPAT_HOST"), os.Getenv("COMPAT_PORT"))
	c, err := client.Connect(address, os.Getenv("COMPAT_USER"), os.Getenv("COMPAT_PASSWORD"), "test", func(c *client.Conn) error {
		if config := tlsConfig(); config != nil {
			c.SetTLSConfig(config)
		}
		c.SetCapability(mysql.CLIENT_MULTI_STATEMENTS)
		return nil
	})
	must(err)
	must(c.Ping())
	_, err = c.Execute("DROP TABLE IF EXISTS gc")
	must(err)
	for _, text := range []string{
		"CREATE TABLE gc (id INT PRIMARY KEY, s VARCHAR(100))", "INSERT INTO gc VALUES (1, 'a'), (2, NULL)", "SELECT nothing",
		"INSERT INTO gc VALUES (1, 'again')", "SELECT * FROM gc ORDER BY id", "SELECT 1 WHERE 0",
	} {
		result, err := c.Execute(text)
		printResult(text, result, err)
	}
	result, err := c.Execute("SELECT id + ?, s, ? FROM gc ORDER BY id", 7, "bound")
	printResult("prepared", result, err)
	_, err = c.ExecuteMultiple("SELECT 1; SELECT s FROM gc ORDER BY id; DO 1; SELECT nothing", func(result *mysql.Result, err error) {
		printResult("several", result, err)
	})
	must(err)
	rows := 0
	var streamed mysql.Result
	must(c.ExecuteSelectStreaming("SELECT a.id FROM gc a JOIN information_schema.collations LIMIT 500", &streamed,
		func(row []mysql.FieldValue) error { rows++; return nil }, nil))
	fmt.Println("streamed", rows)
	must(c.Begin())
	fmt.Println("in transaction", c.IsInTransaction())
	must(c.Rollback())
	fmt.Println("in transaction", c.IsInTransaction())
	must(c.UseDB("mysql"))
	must(c.Quit())
}
