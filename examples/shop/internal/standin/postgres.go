package standin

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
)

// Postgres answers the statements of package database over PostgreSQL's protocol, prepared or simple.
type Postgres struct {
	mu     sync.Mutex
	items  map[int32]database.Item
	orders map[string][]any // cart, total, charge
	stock  map[int32]int32  // pieces of an item

	// Executed, when set before the first client comes, is told of every statement that ran, from several goroutines.
	Executed func(Execution)
}

// Execution is a statement that ran.
type Execution struct {
	SQL        string
	Start, End time.Time
	SQLState   string // of its error, empty without one
}

// NewPostgres makes an empty one.
func NewPostgres() *Postgres {
	return &Postgres{items: map[int32]database.Item{}, orders: map[string][]any{}, stock: map[int32]int32{}}
}

// statement is what the stand-in knows of one SQL text.
type statement struct {
	sql     string
	params  []uint32 // types, as OIDs
	columns []column
	wait    func(args []any) time.Duration // before it runs, without keeping others waiting; nil is not at all
	refuse  func(args []any) error         // nil never does
	run     func(args []any) (rows [][]any, tag string)
}

// sqlError is an error with its SQLSTATE.
type sqlError struct{ state, message string }

func (e *sqlError) Error() string { return e.message }

type column struct {
	name string
	oid  uint32
}

const int4, int4s, float8, text = pgtype.Int4OID, pgtype.Int4ArrayOID, pgtype.Float8OID, pgtype.TextOID

// statement looks an SQL text up. Statements without effect here are answered like the ones that have one.
func (s *Postgres) statement(sql string) (*statement, bool) {
	done := func(tag string) func([]any) ([][]any, string) {
		return func([]any) ([][]any, string) { return nil, tag }
	}
	switch sql {
	case database.CreateItems, database.CreateOrders, database.CreateStock:
		return &statement{run: done("CREATE TABLE")}, true
	case database.InsertItem:
		return &statement{params: []uint32{int4, text, int4}, run: s.insertItem}, true
	case database.SelectItems:
		return &statement{columns: []column{{"id", int4}, {"name", text}, {"price", int4}}, run: s.selectItems}, true
	case database.InsertOrder:
		return &statement{params: []uint32{text, text, int4, text}, run: s.insertOrder}, true
	case database.InsertOrderAgain:
		return &statement{params: []uint32{text, text, int4, text}, refuse: s.isThere, run: s.insertOrder}, true
	case database.InsertStock:
		return &statement{params: []uint32{int4, int4}, run: s.insertStock}, true
	case database.SelectStock:
		return &statement{params: []uint32{int4s}, columns: []column{{"item", int4}}, run: s.selectStock}, true
	case database.SelectStockOfItem:
		return &statement{params: []uint32{int4}, columns: []column{{"item", int4}}, run: s.selectStock}, true
	case database.Sleep:
		return &statement{params: []uint32{float8}, columns: []column{{"pg_sleep", text}}, wait: sleep, run: func([]any) ([][]any, string) {
			return [][]any{{""}}, "SELECT 1"
		}}, true
	case database.SelectOrder:
		return &statement{params: []uint32{text}, columns: []column{{"cart", text}, {"total", int4}, {"charge", text}}, run: s.selectOrder}, true
	case "", "-- ping", ";":
		return &statement{run: done("")}, true
	}
	return nil, false
}

func (s *Postgres) insertItem(args []any) ([][]any, string) {
	id := args[0].(int32)
	if _, there := s.items[id]; there {
		return nil, "INSERT 0 0"
	}
	s.items[id] = database.Item{ID: id, Name: args[1].(string), Price: args[2].(int32)}
	return nil, "INSERT 0 1"
}

func (s *Postgres) selectItems([]any) ([][]any, string) {
	rows := make([][]any, 0, len(s.items))
	for _, item := range s.items {
		rows = append(rows, []any{item.ID, item.Name, item.Price})
	}
	slices.SortFunc(rows, func(a, b []any) int { return int(a[0].(int32) - b[0].(int32)) })
	return rows, fmt.Sprintf("SELECT %d", len(rows))
}

func (s *Postgres) insertOrder(args []any) ([][]any, string) {
	id := args[0].(string)
	if _, there := s.orders[id]; there {
		return nil, "INSERT 0 0"
	}
	s.orders[id] = args[1:]
	return nil, "INSERT 0 1"
}

// isThere refuses an order that was written before.
func (s *Postgres) isThere(args []any) error {
	if _, there := s.orders[args[0].(string)]; there {
		return &sqlError{"23505", `duplicate key value violates unique constraint "orders_pkey"`}
	}
	return nil
}

func (s *Postgres) insertStock(args []any) ([][]any, string) {
	item := args[0].(int32)
	if _, there := s.stock[item]; there {
		return nil, "INSERT 0 0"
	}
	s.stock[item] = args[1].(int32)
	return nil, "INSERT 0 1"
}

// selectStock looks one item up, or several.
func (s *Postgres) selectStock(args []any) ([][]any, string) {
	items, several := args[0].([]int32)
	if !several {
		items = []int32{args[0].(int32)}
	}
	var rows [][]any
	for _, item := range items {
		if s.stock[item] > 0 {
			rows = append(rows, []any{item})
		}
	}
	return rows, fmt.Sprintf("SELECT %d", len(rows))
}

// sleep is how long pg_sleep does, a second at most.
func sleep(args []any) time.Duration {
	return time.Duration(min(max(args[0].(float64), 0), 1) * float64(time.Second))
}

func (s *Postgres) selectOrder(args []any) ([][]any, string) {
	order, ok := s.orders[args[0].(string)]
	if !ok {
		return nil, "SELECT 0"
	}
	return [][]any{order}, "SELECT 1"
}

// Handle speaks with one client.
func (s *Postgres) Handle(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	b.SetMaxBodyLen(1 << 20)
	if s.greet(c, b) != nil {
		return
	}
	client := &session{server: s, b: b, types: pgtype.NewMap(), prepared: map[string]*statement{}}
	for {
		message, err := b.Receive()
		if err != nil || !client.receive(message) || b.Flush() != nil {
			return
		}
	}
}

// greet answers the start-up messages: no encryption, no password.
func (s *Postgres) greet(c net.Conn, b *pgproto3.Backend) error {
	for {
		message, err := b.ReceiveStartupMessage()
		if err != nil {
			return err
		}
		switch message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := c.Write([]byte{'N'}); err != nil {
				return err
			}
		case *pgproto3.StartupMessage:
			b.Send(&pgproto3.AuthenticationOk{})
			b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "16.0 (devloop stand-in)"})
			b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
			b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
			b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			return b.Flush()
		default:
			return fmt.Errorf("cannot start with %T", message)
		}
	}
}
