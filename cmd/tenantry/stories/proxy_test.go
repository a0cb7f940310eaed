package stories_test

import (
	"bufio"
	endian "encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The type `see` is a function that the proxy calls before it sends a statement to PostgreSQL. The function gets the statement's
// text and parameters. If the function returns pass=false, the proxy drops the statement and closes the connection. If the function
// returns a function `committed`, the proxy drops PostgreSQL's answer to the statement, and calls `committed` after the commit.
type see func(sql string, parameters [][]byte) (pass bool, committed func())

// The function `proxied` starts a proxy for a PostgreSQL database, and returns a URL that connects to the database through the
// proxy.
func proxied(t testing.TB, database string, see see) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal("the database has no URL")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	server := u.Host
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(client, server, see)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String()
}

// The function `pass` forwards messages between a client and PostgreSQL until either side closes the connection.
func pass(client net.Conn, server string, see see) {
	defer func() { _ = client.Close() }()
	database, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = database.Close() }()
	var committed atomic.Pointer[func()] // called after the commit of the current statement
	go func() {
		defer func() { _, _ = client.Close(), database.Close() }()
		_ = answers(client, bufio.NewReader(database), &committed)
	}()
	_ = statements(database, bufio.NewReader(client), see, &committed)
}

// The function `statements` forwards the client's messages to PostgreSQL. The first message of a connection has no type, unlike all
// further messages.
func statements(to io.Writer, from io.Reader, see see, committed *atomic.Pointer[func()]) error {
	size := make([]byte, 4)
	if _, err := io.ReadFull(from, size); err != nil {
		return err
	}
	startup := make([]byte, endian.BigEndian.Uint32(size)-4)
	if _, err := io.ReadFull(from, startup); err != nil {
		return err
	}
	if _, err := to.Write(append(size, startup...)); err != nil {
		return err
	}
	prepared := map[string]string{} // the text of each prepared statement, by name
	for {
		m, err := readMessage(from)
		if err != nil {
			return err
		}
		switch m.kind() {
		case 'P':
			var parse pgproto3.Parse
			if err := parse.Decode(m.body()); err != nil {
				return err
			}
			prepared[parse.Name] = parse.Query
		case 'B':
			var bind pgproto3.Bind
			if err := bind.Decode(m.body()); err != nil {
				return err
			}
			ok, after := see(prepared[bind.PreparedStatement], bind.Parameters)
			if !ok {
				return nil
			}
			if after != nil {
				committed.Store(&after)
			}
		}
		if _, err := to.Write(m); err != nil {
			return err
		}
	}
}

// The function `answers` forwards PostgreSQL's messages to the client, until the proxy must drop the answer to a commit. If the
// statement is part of a transaction, the answer to the statement is forwarded, and the answer to the transaction's COMMIT is
// dropped.
func answers(to io.Writer, from io.Reader, committed *atomic.Pointer[func()]) error {
	var kept []byte // messages since the statement
	for {
		m, err := readMessage(from)
		if err != nil {
			return err
		}
		after := committed.Load()
		if kept = append(kept, m...); after != nil && m.kind() != 'Z' {
			continue
		}
		if after != nil && m.body()[0] == 'I' { // PostgreSQL is ready for a statement, and no transaction is open
			(*after)()
			return nil
		}
		if _, err := to.Write(kept); err != nil {
			return err
		}
		kept = kept[:0]
	}
}

// The type `message` is a message of PostgreSQL's protocol. Each message has a type (one letter), a length and a body.
type message []byte

func (m message) kind() byte   { return m[0] }
func (m message) body() []byte { return m[5:] }

func readMessage(from io.Reader) (message, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	m := make(message, 1+endian.BigEndian.Uint32(head[1:]))
	copy(m, head)
	_, err := io.ReadFull(from, m.body())
	return m, err
}

// stepStates decodes the parameters of a statement, and returns the states of the steps that the statement stores, by step name.
func stepStates(parameters [][]byte) map[string]string {
	states := map[string]string{}
	for _, p := range parameters {
		var rows []struct{ Name, State string }
		if json.Unmarshal(p, &rows) != nil {
			continue
		}
		for _, row := range rows {
			if row.Name != "" && row.State != "" {
				states[row.Name] = row.State
			}
		}
	}
	return states
}
