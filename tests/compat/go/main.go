// SPDX-License-Identifier: Apache-2.0

// Command compat runs the work of the two Go libraries that DM is made of, and prints what it came to: two ways to one server must
// print the same. Where to connect comes from the environment (COMPAT_*).
//
//	compat sql FILE                       go-sql-driver/mysql; FILE is loaded by LOAD DATA LOCAL
//	compat client                         go-mysql's client
//	compat stream SERVER_ID SET [UNTIL]   go-mysql's BinlogSyncer, by GTID from SET on, until UNTIL was read; for ever without
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: compat sql FILE | client | stream SERVER_ID SET [UNTIL]")
		os.Exit(2)
	}
	switch args := os.Args[2:]; {
	case os.Args[1] == "sql" && len(args) == 1:
		runSQL(args[0])
	case os.Args[1] == "client" && len(args) == 0:
		runClient()
	case os.Args[1] == "stream" && (len(args) == 2 || len(args) == 3):
		runStream(args[0], args[1], args[2:])
	default:
		fmt.Fprintln(os.Stderr, "compat: see the top of main.go for how to call it")
		os.Exit(2)
	}
}

// tlsConfig is nil without TLS; with it the server's certificate is held to the CA.
func tlsConfig() *tls.Config {
	file := os.Getenv("COMPAT_CA")
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	must(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		must(fmt.Errorf("no certificate in %s", file))
	}
	return &tls.Config{RootCAs: pool, ServerName: os.Getenv("COMPAT_HOST")}
}

// configOf is what DM gives its syncer, so far as it shows on the wire.
func configOf(serverID string) replication.BinlogSyncerConfig {
	id, err := strconv.ParseUint(serverID, 10, 32)
	must(err)
	port, err := strconv.ParseUint(os.Getenv("COMPAT_PORT"), 10, 16)
	must(err)
	return replication.BinlogSyncerConfig{
		ServerID: uint32(id), Flavor: mysql.MySQLFlavor, Host: os.Getenv("COMPAT_HOST"), Port: uint16(port),
		User: os.Getenv("COMPAT_USER"), Password: os.Getenv("COMPAT_PASSWORD"), Localhost: "compat", UseDecimal: true,
		TimestampStringLocation: time.UTC, ReadTimeout: time.Minute, HeartbeatPeriod: 30 * time.Second,
		DisableRetrySync: true, TLSConfig: tlsConfig(),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// A line an event: transactions as "gtid UUID:N", all others by their type, place and content.
func runStream(serverID, from string, until []string) {
	set, err := mysql.ParseMysqlGTIDSet(from)
	must(err)
	syncer := replication.NewBinlogSyncer(configOf(serverID))
	streamer, err := syncer.StartSyncGTID(set.Clone())
	must(err)
	var last mysql.GTIDSet
	if len(until) > 0 {
		last, err = mysql.ParseMysqlGTIDSet(until[0])
		must(err)
	}
	gtid := ""
	for last == nil || !set.Contain(last) {
		event, err := streamer.GetEvent(context.Background())
		must(err)
		switch e := event.Event.(type) {
		case *replication.GTIDEvent:
			next, err := e.GTIDNext()
			must(err)
			gtid = next.String()
			fmt.Println("gtid", gtid)
			continue
		case *replication.XIDEvent, *replication.TransactionPayloadEvent:
			must(set.Update(gtid))
		case *replication.QueryEvent:
			if string(e.Query) != "BEGIN" {
				must(set.Update(gtid))
			}
		}
		if event.Header.EventType != replication.HEARTBEAT_EVENT {
			fmt.Printf("%s at %d size %d content %08x\n", event.Header.EventType, event.Header.LogPos, event.Header.EventSize,
				crc32.ChecksumIEEE(event.RawData[replication.EventHeaderSize:]))
		}
	}
	syncer.Close() // on a new connection, which kills the stream's by its id
	fmt.Println("end", set)
}
